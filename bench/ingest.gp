# ingest.gp - tokens read a second against what the bank holds already, beside a dense transformer's
# prefill at that depth (peer.csv: see decode.gp):
#   gnuplot -e "file='bench/results/ingest.csv'; out='docs/ingest.svg'; note='...'" bench/ingest.gp
load "bench/style.gp"
set logscale y
set yrange [1:100000]
set key left bottom
set ylabel "tokens a second"
plot "bench/peer.csv" using (x($1)):(($4+$5)/2) skip 1 with linespoints pt 5 lw 2 lc rgb "#999999" title "llama.cpp, 32.5M parameters, prefill", \
     file using (x(column("depth"))):(only("part", "ingest", column("units_per_second"))) with linespoints pt 7 lc rgb "#0050a0" title "loci ingest", \
     file using (x(column("depth"))):(only("part", "ingest", 1000.0/column("floor_ms"))) with linespoints pt 1 dt 2 lc rgb "#0050a0" title "what this machine's products allow"
