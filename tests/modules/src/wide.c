/* A per-CPU section aligned to more than a page; the kernel clamps that. */
char __attribute__((section(".data..percpu"), aligned(8192))) wide_page[64] = {9};
char *wide_where(void) { return wide_page; }
