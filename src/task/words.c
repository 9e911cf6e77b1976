/* words.c - common English adjectives and nouns that keys, values and passages are made of.
 *
 * Each word stands once in the whole file.  Words 2, 5, 8, ... of a table belong to the test
 * half and occur in nothing made for training. */
#include "task/task_impl.h"

#include <string.h>

static const char *const adjectives[] = {
    "amber",     "ancient",  "arctic",    "autumn",    "azure",    "bitter",   "blazing",
    "blunt",     "brass",    "brave",     "bright",    "brisk",    "broken",   "bronze",
    "bubbly",    "busy",     "calm",      "candid",    "careful",  "carved",   "cheerful",
    "chilly",    "clever",   "cloudy",    "coarse",    "coastal",  "copper",   "coral",
    "cosmic",    "cozy",     "cracked",   "crimson",   "crisp",    "crooked",  "curious",
    "curly",     "dainty",   "daring",    "dark",      "deep",     "dense",    "distant",
    "dizzy",     "dreamy",   "dry",       "dusty",     "eager",    "early",    "earnest",
    "eastern",   "electric", "elegant",   "empty",     "faded",    "faithful", "famous",
    "fancy",     "fearless", "feathered", "fierce",    "final",    "fluffy",   "foggy",
    "forgotten", "fragile",  "fresh",     "friendly",  "frosty",   "frozen",   "gentle",
    "giant",     "gilded",   "glassy",    "gleaming",  "gloomy",   "golden",   "graceful",
    "grand",     "granite",  "grateful",  "gray",      "greedy",   "green",    "grumpy",
    "hasty",     "hazel",    "heavy",     "hidden",    "hollow",   "honest",   "humble",
    "hungry",    "icy",      "idle",      "indigo",    "iron",     "ivory",    "jagged",
    "jolly",     "keen",     "large",     "lavender",  "lazy",     "leafy",    "lively",
    "lonely",    "loud",     "loyal",     "lucky",     "lunar",    "magic",    "maple",
    "marble",    "massive",  "mellow",    "merry",     "mighty",   "misty",    "modest",
    "mossy",     "muddy",    "narrow",    "native",    "neat",     "nimble",   "noble",
    "noisy",     "northern", "oaken",     "odd",       "olive",    "opaque",   "orange",
    "ornate",    "painted",  "pale",      "patient",   "peaceful", "pearly",   "polar",
    "polished",  "polite",   "pretty",    "prime",     "proud",    "purple",   "puzzled",
    "quick",     "quiet",    "radiant",   "rapid",     "rare",     "ready",    "restless",
    "rigid",     "ripe",     "roaming",   "robust",    "rocky",    "rosy",     "rough",
    "round",     "royal",    "rugged",    "rural",     "rustic",   "rusty",    "sacred",
    "salty",     "sandy",    "scarlet",   "secret",    "serene",   "shady",    "sharp",
    "shiny",     "shy",      "silent",    "silken",    "silver",   "simple",   "sleepy",
    "slender",   "slow",     "smooth",    "snowy",     "sober",    "soft",     "solar",
    "solemn",    "solid",    "southern",  "sparkling", "spicy",    "spiral",   "spotted",
    "stark",     "steady",   "steep",     "sticky",    "stormy",   "striped",  "sturdy",
    "subtle",    "sudden",   "sunny",     "swift",     "tall",     "tame",     "tangled",
    "tender",    "thirsty",  "thorny",    "timid",     "tiny",     "tired",    "tough",
    "tranquil",  "tropical", "twisted",   "urban",     "vague",    "valiant",  "vast",
    "velvet",    "vibrant",  "violet",    "vivid",     "warm",     "wary",     "weary",
    "western",   "white",    "wild",      "windy",     "winged",   "wise",     "withered",
    "wooden",    "yellow",   "young",     "zesty",
};

static const char *const nouns[] = {
    "acorn",      "airship",    "almond",  "anchor",   "antler",     "anvil",    "apple",
    "arrow",      "atlas",      "badger",  "balcony",  "ballad",     "bamboo",   "banjo",
    "barley",     "barrel",     "basil",   "basin",    "basket",     "beacon",   "beaver",
    "beetle",     "bell",       "bicycle", "birch",    "bison",      "blanket",  "blossom",
    "bonfire",    "bottle",     "boulder", "branch",   "bridge",     "bucket",   "buffalo",
    "bugle",      "butter",     "button",  "cabin",    "cactus",     "camel",    "camera",
    "candle",     "canoe",      "canyon",  "caravan",  "carpet",     "carriage", "castle",
    "cavern",     "cedar",      "cellar",  "chapel",   "cherry",     "chest",    "chimney",
    "cinder",     "clover",     "cobra",   "comet",    "compass",    "condor",   "cottage",
    "cotton",     "cradle",     "crane",   "crater",   "cricket",    "crown",    "crystal",
    "cypress",    "daisy",      "dancer",  "desert",   "diamond",    "dolphin",  "donkey",
    "dragon",     "drum",       "eagle",   "easel",    "echo",       "elbow",    "elm",
    "ember",      "engine",     "falcon",  "feather",  "fence",      "ferry",    "fiddle",
    "finch",      "flag",       "flame",   "flute",    "forest",     "forge",    "fountain",
    "fox",        "galaxy",     "garden",  "garlic",   "garnet",     "gazelle",  "geyser",
    "ginger",     "glacier",    "glove",   "goblet",   "goose",      "gorge",    "granary",
    "grape",      "guitar",     "hammer",  "harbor",   "harp",       "harvest",  "hawk",
    "hedge",      "helmet",     "heron",   "hill",     "honey",      "hornet",   "horse",
    "iceberg",    "igloo",      "island",  "ivy",      "jacket",     "jaguar",   "jasmine",
    "jewel",      "jigsaw",     "jungle",  "juniper",  "kettle",     "kite",     "kitten",
    "ladder",     "lagoon",     "lantern", "lark",     "laurel",     "lemon",    "leopard",
    "library",    "lighthouse", "lily",    "lizard",   "lobster",    "locket",   "lotus",
    "magnet",     "mango",      "mantle",  "marsh",    "mast",       "meadow",   "melon",
    "mill",       "mirror",     "mitten",  "monkey",   "monsoon",    "moose",    "mosaic",
    "mountain",   "museum",     "mustang", "needle",   "nest",       "nettle",   "nutmeg",
    "oak",        "oasis",      "ocean",   "onion",    "orbit",      "orchard",  "orchid",
    "otter",      "owl",        "oyster",  "paddle",   "palace",     "panther",  "parrot",
    "pastry",     "peach",      "pebble",  "pelican",  "pencil",     "pepper",   "piano",
    "pigeon",     "pillar",     "pillow",  "pine",     "pirate",     "planet",   "plum",
    "pond",       "pony",       "poppy",   "prairie",  "prism",      "puffin",   "pumpkin",
    "puppet",     "puzzle",     "pyramid", "quail",    "quarry",     "quilt",    "quiver",
    "rabbit",     "raccoon",    "rainbow", "raven",    "reef",       "ribbon",   "river",
    "robin",      "rocket",     "rooster", "rose",     "saddle",     "saffron",  "sail",
    "salmon",     "sapphire",   "scarf",   "shadow",   "shark",      "shell",    "shield",
    "shovel",     "shrine",     "siren",   "sled",     "snail",      "sparrow",  "spear",
    "spider",     "spindle",    "spruce",  "squirrel", "stable",     "stag",     "statue",
    "stone",      "stork",      "summit",  "swan",     "tambourine", "teapot",   "temple",
    "thimble",    "thistle",    "throne",  "thunder",  "tiger",      "timber",   "torch",
    "tortoise",   "tower",      "trumpet", "tulip",    "tunnel",     "turnip",   "turtle",
    "umbrella",   "valley",     "vase",    "vessel",   "village",    "vineyard", "violin",
    "volcano",    "wagon",      "walnut",  "walrus",   "waterfall",  "weasel",   "whale",
    "wheel",      "whistle",    "willow",  "window",   "wizard",     "wolf",     "wombat",
    "woodpecker", "wreath",     "yacht",   "zebra",    "zeppelin",
};

static const struct {
    const char *const *word;
    int n;
} tables[LOCI_WORD_CLASSES] = {
    { adjectives, (int)(sizeof adjectives / sizeof *adjectives) },
    { nouns, (int)(sizeof nouns / sizeof *nouns) },
};

int loci_word_count(loci_word_class c)
{
    return tables[c].n;
}

const char *loci_word(loci_word_class c, int i)
{
    return tables[c].word[i];
}

loci_split loci_word_split(int i)
{
    return i % 3 == 2 ? LOCI_SPLIT_TEST : LOCI_SPLIT_TRAIN;
}

bool loci_word_is_test(const char *word)
{
    for (int c = 0; c < LOCI_WORD_CLASSES; c++)
        for (int i = 2; i < tables[c].n; i += 3)
            if (tables[c].word[i][0] == word[0] && strcmp(tables[c].word[i], word) == 0)
                return true;
    return false;
}

int loci_word_draw(loci_word_class c, loci_rng *rng, loci_split split)
{
    const int n_test = tables[c].n / 3;
    if (split == LOCI_SPLIT_TEST) return 3 * (int)loci_rng_below(rng, (uint32_t)n_test) + 2;
    const int t = (int)loci_rng_below(rng, (uint32_t)(tables[c].n - n_test));
    return t / 2 * 3 + t % 2;
}
