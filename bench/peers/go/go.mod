module sluice.invalid/bench/peers

go 1.19
