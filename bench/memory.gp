# memory.gp - resident memory while decoding, and the bank's files, against depth:
#   gnuplot -e "file='bench/results/decode.csv'; out='docs/memory.svg'; note='...'" bench/memory.gp
load "bench/style.gp"
set logscale y
set yrange [10:10000]
set ylabel "MB"
plot "bench/peer.csv" using (x($1)):($6*1e-6) skip 1 with points pt 5 lc rgb "#999999" title "llama.cpp, 32.5M parameters, resident", \
     file using (x(column("depth"))):(only("part", "token", 1e-6*column("resident_bytes"))) with linespoints pt 7 lc rgb "#0050a0" title "loci, resident", \
     file using (x(column("depth"))):(only("part", "token", 1e-6*column("disk_bytes"))) with linespoints pt 6 lc rgb "#c06000" title "its bank on disk"
