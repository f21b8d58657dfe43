/* Uses a per-CPU variable and a function of another module (counter.c); one weak name may be missing. */
#define PERCPU __attribute__((section(".data..percpu")))

extern int PERCPU counter_global;
extern int counter_bump(int);
extern int optional_func(int) __attribute__((weak));

static char PERCPU reader_bytes[3] = {1, 2, 3};

int reader_read(int n)
{
	if (optional_func)
		return optional_func(n);
	return counter_global + counter_bump(n) + reader_bytes[n % 3];
}
