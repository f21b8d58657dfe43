/* Built without -mcmodel=kernel: 32-bit unsigned addresses, which the module space is out of reach of. */
extern int far_kernel_data;
unsigned far_address(void) { return (unsigned)(unsigned long)&far_kernel_data; }
