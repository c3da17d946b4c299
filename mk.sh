cd /work/main && make -s all build/tests/bench/bench build/tests/bench/floor 2>&1 | grep -E "error|warning" | head
gcc -O2 -g -D_GNU_SOURCE -I/usr/include/hiredis -o /tmp/lead/ab/ab /tmp/lead/ab/ab.c build/tests/bench/{contest,hist,load,server,wire}.o build/proto/buf.o -lhiredis
