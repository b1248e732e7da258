"""The benchmarks. servers: throwaway PostgreSQL; measure: clocks, CPU and memory; peers: Weir and the others;
workloads: the data and how both ends are compared; streams, copies, embedded, latency, footprint: the
benchmarks; report and plots: what is printed, kept and drawn."""
