# decode.gp - milliseconds of a decoded token against depth, beside a dense transformer's:
#   gnuplot -e "file='bench/results/decode.csv'; out='docs/decode.svg'; note='...'" bench/decode.gp
# peer.csv: llama.cpp of August 2026, a Llama shape of 32.5M parameters with 2 KV heads, weights Q8_0,
# keys and values f16, 2 threads of machine A of docs/PERF.md; each depth measured, low and high of
# several runs, on an otherwise idle machine.  They are constants; bench/peer.sh measures the first again.
load "bench/style.gp"
set logscale y
set yrange [0.05:2000]
set ylabel "ms a token"
plot "bench/peer.csv" using (x($1)):(($2+$3)/2) skip 1 with linespoints pt 5 lw 2 lc rgb "#999999" title "llama.cpp, 32.5M parameters, whole context", \
     file using (x(column("depth"))):(only("part", "token", column("ms"))) with linespoints pt 7 lc rgb "#0050a0" title "loci", \
     file using (x(column("depth"))):(only("part", "token", column("floor_ms"))) with linespoints pt 1 dt 2 lc rgb "#0050a0" title "its floor on this machine", \
     file using (x(column("depth"))):(only("part", "search", column("ms"))) with linespoints pt 6 lc rgb "#c06000" title "of it search"
