/*
 * A module with one per-CPU variable. Its init value, 7, is copied into every CPU's copy when it is loaded.
 *
 *     gcc -c -O1 -ffreestanding -fno-pic -mcmodel=kernel -fcf-protection=none -fno-asynchronous-unwind-tables -o hits.o hits.c
 *
 * No code is run: what init and exit would ask for is written in hits.script.
 */
#define PERCPU __attribute__((section(".data..percpu")))
#define MODINFO(tag, text) \
	static const char tag[] __attribute__((section(".modinfo"), used)) = #tag "=" text

MODINFO(name, "hits");
MODINFO(license, "GPL");

PERCPU unsigned long hits = 7;

void hit(void)
{
	__asm__ volatile("incq %%gs:%0" : "+m"(hits));
}

__attribute__((section(".init.text"))) int init_module(void)
{
	hit();
	return 0;
}

__attribute__((section(".exit.text"))) void cleanup_module(void)
{
}
