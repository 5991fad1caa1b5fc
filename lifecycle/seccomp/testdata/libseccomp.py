# Compiles configurations with libseccomp, in the way of runc: one JSON object a
# line on standard input, one program in hexadecimal a line on standard output.
import json
import sys
import tempfile

import seccomp as s

ACTIONS = {
    "SCMP_ACT_KILL": s.KILL, "SCMP_ACT_KILL_THREAD": s.KILL, "SCMP_ACT_KILL_PROCESS": s.KILL_PROCESS,
    "SCMP_ACT_TRAP": s.TRAP, "SCMP_ACT_ALLOW": s.ALLOW, "SCMP_ACT_LOG": s.LOG, "SCMP_ACT_NOTIFY": s.NOTIFY,
}
OPERATORS = {
    "SCMP_CMP_NE": s.NE, "SCMP_CMP_LT": s.LT, "SCMP_CMP_LE": s.LE, "SCMP_CMP_EQ": s.EQ,
    "SCMP_CMP_GE": s.GE, "SCMP_CMP_GT": s.GT,
}
ARCHES = {
    "SCMP_ARCH_X86_64": "x86_64", "SCMP_ARCH_X86": "x86", "SCMP_ARCH_X32": "x32",
    "SCMP_ARCH_AARCH64": "aarch64", "SCMP_ARCH_ARM": "arm",
}


def action(name, errno):
    if name == "SCMP_ACT_ERRNO":
        return s.ERRNO(1 if errno is None else errno)
    if name == "SCMP_ACT_TRACE":
        return s.TRACE(1 if errno is None else errno)
    return ACTIONS[name]


def arg(a):
    if a["op"] == "SCMP_CMP_MASKED_EQ":
        return s.Arg(a["index"], s.MASKED_EQ, a["value"], a.get("valueTwo", 0))
    return s.Arg(a["index"], OPERATORS[a["op"]], a["value"])


def compiled(c):
    default = action(c["defaultAction"], c.get("defaultErrnoRet"))
    f = s.SyscallFilter(default)
    f.set_attr(s.Attr.ACT_BADARCH, s.KILL_PROCESS)
    wanted = [s.Arch(ARCHES[a]) for a in c["architectures"]]
    for a in wanted:
        if not f.exist_arch(a):
            f.add_arch(a)
    if s.Arch() not in wanted and c["machine"] != "amd64":
        f.remove_arch(s.Arch())
    for rule in c.get("syscalls", []):
        act = action(rule["action"], rule.get("errnoRet"))
        if act == default:
            continue
        args = [arg(a) for a in rule.get("args", [])]
        twice = len({a["index"] for a in rule.get("args", [])}) < len(args)
        for name in rule["names"]:
            for conditions in [[a] for a in args] if twice else [args]:
                try:
                    f.add_rule(act, name, *conditions)
                except RuntimeError as e:
                    raise RuntimeError(f"{name} {rule}") from e
    with tempfile.TemporaryFile() as out:
        f.export_bpf(out)
        out.seek(0)
        return out.read()


def known(name):
    return s.resolve_syscall(s.Arch(), name) != -1


for line in sys.stdin:
    request = json.loads(line)
    if "known" in request:
        print(" ".join(n for n in request["known"] if known(n)))
    elif "resolve" in request:
        arch = s.Arch(ARCHES[request["resolve"]])
        print(" ".join(str(s.resolve_syscall(arch, n)) for n in request["names"]))
    else:
        print(compiled(request).hex())
    sys.stdout.flush()
