/* Nothing per CPU and nothing from outside. */
static int plain_value = 5;
int plain_get(void) { return plain_value; }
