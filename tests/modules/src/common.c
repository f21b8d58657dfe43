/* Built with -fcommon: a common symbol, which the kernel refuses. */
int common_value;
int common_get(void) { return common_value; }
