/* A qemu plugin that counts executed instructions of all threads, and writes the sum to qemu's log whenever the program marks a
   moment: by getpriority(MARK, n), which any program may call and which fails. */

#include <qemu-plugin.h>
#include <stdint.h>
#include <stdio.h>

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

enum { GETPRIORITY = 141, MARK = 25957 };

static qemu_plugin_u64 executed;

static void on_block(qemu_plugin_id_t id, struct qemu_plugin_tb *block)
{
    qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(
        block, QEMU_PLUGIN_INLINE_ADD_U64, executed, qemu_plugin_tb_n_insns(block));
}

static void on_syscall(qemu_plugin_id_t id, unsigned int vcpu, int64_t number, uint64_t which, uint64_t who, uint64_t c,
                       uint64_t d, uint64_t e, uint64_t f, uint64_t g, uint64_t h)
{
    char line[64];
    if (number != GETPRIORITY || which != MARK)
        return;
    snprintf(line, sizeof line, "mark %u %llu\n", (unsigned)who, (unsigned long long)qemu_plugin_u64_sum(executed));
    qemu_plugin_outs(line);
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
    executed = qemu_plugin_scoreboard_u64(qemu_plugin_scoreboard_new(sizeof(uint64_t)));
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_block);
    qemu_plugin_register_vcpu_syscall_cb(id, on_syscall);
    return 0;
}
