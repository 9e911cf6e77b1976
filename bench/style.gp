# style.gp - what the curves share.  Variables: out (SVG), file (CSV of loci bench --csv), note (one
# line: which model and machine).  The depth 0 stands at the left edge of a logarithmic axis.
set terminal svg size 760,480 font "sans,13" background "white"
set output out
set datafile separator comma
set datafile missing NaN # rows of other parts do not break a line
set key left top reverse Left
set grid lc rgb "#dddddd"
set border 3
set tics nomirror
set logscale x 2
set xrange [2048:33554432]
set xlabel "tokens in the bank"
set xtics ("0" 2048, "8K" 8192, "32K" 32768, "128K" 131072, "512K" 524288, "1M" 1048576, "16M" 16777216)
x(depth) = depth < 2048 ? 2048 : depth
set title note font "sans,11"
# Rows of one part.
only(part, want, v) = strcol(part) eq want ? v : NaN
