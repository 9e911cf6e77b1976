REASONING_EFFORT_PROMPTS: Dict[str, str] = {
 'low': '', "high": ("\u00e9\x41\101" '\N{DASH}'), 'max': '''a\
b''',
}
DEFAULT = 'low'
