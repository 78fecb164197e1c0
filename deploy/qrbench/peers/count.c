// A plugin of qemu-user that counts the instructions of each reading: those
// between two readings of the process's CPU clock, which a bench's reader takes
// directly before and behind. All threads count, the garbage collector's too.
// qemu-user -plugin count.so,out=FILE writes one number a line.
//
// Debian has no header for plugins; these are the few declarations that this
// one needs, of version 1 of the interface (docs/devel/tcg-plugins.rst).
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
typedef struct qemu_info_t qemu_info_t;
struct qemu_plugin_tb;
enum { QEMU_PLUGIN_INLINE_ADD_U64 = 0 };
typedef void (*on_block)(qemu_plugin_id_t, struct qemu_plugin_tb *);
typedef void (*on_call)(qemu_plugin_id_t, unsigned, int64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int, void *, uint64_t);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, on_block);
void qemu_plugin_register_vcpu_syscall_cb(qemu_plugin_id_t, on_call);

int qemu_plugin_version = 1;

static uint64_t executed, begun;
static int reading;
static int64_t clock_gettime_is;
static FILE *out;

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb) {
	(void)id;
	qemu_plugin_register_vcpu_tb_exec_inline(tb, QEMU_PLUGIN_INLINE_ADD_U64, &executed, qemu_plugin_tb_n_insns(tb));
}

static void called(qemu_plugin_id_t id, unsigned cpu, int64_t number, uint64_t clock, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f, uint64_t g, uint64_t h) {
	(void)id, (void)cpu, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
	if (number != clock_gettime_is || clock != 2) // CLOCK_PROCESS_CPUTIME_ID
		return;
	if (reading) {
		fprintf(out, "%" PRIu64 "\n", executed - begun);
		fflush(out);
	}
	begun = executed;
	reading = !reading;
}

int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv) {
	const char *target = *(const char *const *)info; // its first field
	clock_gettime_is = !strcmp(target, "x86_64") ? 228 : !strcmp(target, "arm") ? 263 : 113;
	for (int i = 0; i < argc; i++)
		if (!strncmp(argv[i], "out=", 4))
			out = fopen(argv[i] + 4, "w");
	if (!out) {
		fprintf(stderr, "count: no out=FILE\n");
		return 1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_vcpu_syscall_cb(id, called);
	return 0;
}
