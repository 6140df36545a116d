package bench_test

func fleetMain() {}
