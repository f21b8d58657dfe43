/* Per-CPU variables of all kinds, and code, data and constants beside them. */
#define PERCPU __attribute__((section(".data..percpu")))

struct pair { long low, high; };
extern int kernel_func(int);
extern int PERCPU kernel_percpu;

int PERCPU counter_global = 7;
static struct pair PERCPU counter_pair __attribute__((aligned(32))) = {1, 2};
static const char counter_name[] = "counter";
const char *counter_names[2] = {counter_name, "other"};
static long counter_zero[32];
int counter_table[4] = {1, 2, 3, 4};

int __attribute__((noinline)) counter_bump(int n)
{
	counter_zero[n & 31]++;
	counter_pair.low += n;
	return kernel_func(n) + counter_table[n & 3] + (int)(long)&kernel_percpu;
}

int *counter_where(void) { return &counter_global; }

int __attribute__((section(".init.text"))) init_module(void) { return counter_bump(1) & 0; }
void __attribute__((section(".exit.text"))) cleanup_module(void) { counter_bump(2); }
