/* A real kernel object in small: .modinfo, struct module, and tables of exported symbols. */
#define PERCPU __attribute__((section(".data..percpu")))
#define INFO(tag, text) \
	static const char info_##tag[] __attribute__((section(".modinfo"), used, aligned(1))) = #tag "=" text

INFO(license, "GPL");
INFO(depends, "");
INFO(name, "exporter");
INFO(vermagic, "6.1.0-56-amd64 SMP preempt mod_unload modversions ");

int PERCPU exporter_count = 3;
int exporter_func(int n) { return n + exporter_count; }
int exporter_hidden(int n) { return n - 1; }

/* One row: value, name, namespace; relative to the row's own words on x86-64, addresses on i386. The kernel's strings
   are mergeable (aMS); here they are not, so that the linker that is our oracle keeps them where they are. */
#ifdef __x86_64__
#define WORD ".long "
#define FROM_HERE " - ."
#else
#define WORD ".long "
#define FROM_HERE ""
#endif
#define EXPORT(symbol, table) \
	asm(".section __ksymtab_strings,\"a\",@progbits\n" \
	    "__kstrtab_" #symbol ": .asciz \"" #symbol "\"\n" \
	    "__kstrtabns_" #symbol ": .asciz \"\"\n" \
	    ".previous\n.section " table ",\"a\"\n.balign 4\n" \
	    "__ksymtab_" #symbol ": " \
	    WORD #symbol FROM_HERE "\n" \
	    WORD "__kstrtab_" #symbol FROM_HERE "\n" \
	    WORD "__kstrtabns_" #symbol FROM_HERE "\n.previous\n")
EXPORT(exporter_func, "__ksymtab");
EXPORT(exporter_count, "__ksymtab_gpl");

struct module { long state; void *list[2]; char name[64 - sizeof(long)]; void *rest[64]; };
struct module __this_module __attribute__((section(".gnu.linkonce.this_module"))) = {
	.name = "exporter",
};
