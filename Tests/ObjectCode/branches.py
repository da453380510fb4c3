#!/usr/bin/env python3
"""Finds jumps and addresses that depend on secret data in the machine code of the C kernels (x86-64).

    branches.py PROGRAM [FUNCTION ...]

Every value is followed through registers and stack slots, over all paths, until nothing changes: an argument is
public, memory behind a pointer argument is secret unless PUBLIC names that argument, constants are public. A
conditional jump on flags that a secret went into, and an address that one went into, are printed; the exit status is
1 if there are any, 2 if a function is missing.
"""

import re
import subprocess
import sys

ARGUMENTS = ["rdi", "rsi", "rdx", "rcx", "r8", "r9"]
# Arguments (from 0) whose memory is public: tables of a transform, constants of a modulus, permutations, lists of rows.
PUBLIC = {
    "hkms_multiply": {4}, "hkms_multiply_add": {4}, "hkms_multiply_plus": {5}, "hkms_negated_multiply_plus": {5},
    "hkms_reduce": {3}, "hkms_reduce_centered": {4}, "hkms_permute": {2}, "hkms_from_signed": {3},
    "hkms_multiply_accumulate_many": {2, 3, 4, 5}, "hkms_weighted_sum": {1, 2, 5},
    "hkms_nearest_sum_of_fractions": {1, 2},
    "hkms_ntt_forward": {1}, "hkms_ntt_inverse": {1}, "hkms_ntt_forward_small": {2}, "hkms_ntt_forward_ternary": {2},
    "hkms_ntt_forward_centered": {3}, "hkms_ntt_forward_weighted_sum": {1, 2},
    "hkms_ntt_small_negated_plus_product": {5}, "hkms_ntt_inverse_scaled": {4},
    "hkms_ntt_forward_portable": {3, 4}, "hkms_ntt_inverse_portable": {3, 4},
    "hkms_ntt_forward_first_avx2": {2, 3}, "hkms_ntt_forward_outer_avx2": {2}, "hkms_ntt_forward_stage_avx2": {3},
    "hkms_ntt_forward_inner_avx2": {2}, "hkms_ntt_forward_last_avx2": {3, 4, 5}, "hkms_ntt_forward_fused_avx2": {1, 2, 3},
    "hkms_ntt_inverse_first_avx2": {3}, "hkms_ntt_inverse_pass_avx2": {3}, "hkms_ntt_inverse_stage_avx2": {3},
    "hkms_ntt_inverse_last_avx2": {2}, "hkms_ntt_inverse_scaled_avx2": {4},
}
# What never sees a secret: tables of public numbers, the choice of kernels, and what says so in its name.
EXCLUDED = re.compile(r"hkms_(kernels_|ntt_tables_|.*_variable_time|locked_memory|forbid_|random_|secret_|wiping_|dft_|"
                      r"twist|round_to_signed|unpack_bits)")


def all_functions(program):
    """Every kernel of the program, in every form: the one that dispatches, the portable one, AVX2's passes."""
    listing = subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout
    symbols = {line.split()[-1] for line in listing.splitlines() if re.search(r" [tT] hkms_\w+$", line)}
    return sorted(name for name in symbols if not EXCLUDED.match(name))


# 64-bit names of partial registers.
NAMES = {}
for letter in "abcd":
    for name in (f"e{letter}x", f"{letter}x", f"{letter}l", f"{letter}h"):
        NAMES[name] = f"r{letter}x"
for stem in ("si", "di", "bp", "sp"):
    for name in (f"e{stem}", stem, f"{stem}l"):
        NAMES[name] = f"r{stem}"
for number in range(8, 16):
    for suffix in "dwb":
        NAMES[f"r{number}{suffix}"] = f"r{number}"
for number in range(32):
    for prefix in "yz":
        NAMES[f"{prefix}mm{number}"] = f"xmm{number}"

SECRET = "secret"
# Of words, bits and floating-point numbers; vcmp and vpcmp write a register and no flags.
COMPARISONS = (
    "cmp", "test", "ucomis", "comis", "ptest", "vucomis", "vcomis", "vptest", "vtestp",
)
MEMORY = re.compile(r"(?:%[fg]s:)?(-?0x[0-9a-f]+|-?\d+)?\((%\w+)?(?:,(%\w+)?(?:,(\d))?)?\)$")


def canonical(name):
    return NAMES.get(name, name)


def join(a, b):
    """What a value may be on two paths: None (public), ("pointer", argument) or SECRET."""
    if a == b:
        return a
    if SECRET in (a, b):
        return SECRET
    # A pointer and a number, or two pointers: what lies behind them is secret.
    return a if b is None else b if a is None else ("pointer", -1)


def combine(values):
    result = None
    for value in values:
        result = join(result, value)
    return result


def operands(text):
    parts, depth, current = [], 0, ""
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            parts.append(current.strip())
            current = ""
        else:
            current += character
    return [p for p in parts + [current.strip()] if p]


def disassemble(program, function):
    text = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", f"--disassemble={function}", program], capture_output=True, text=True,
        check=True).stdout
    code = {}
    for line in text.splitlines():
        found = re.match(r"\s*([0-9a-f]+):\s+(.*)$", line)
        if not found:
            continue
        instruction = re.sub(r"\s*#.*$", "", found.group(2)).strip()
        instruction = re.sub(r"^(?:(?:data16|cs|ds|notrack|bnd|rep|repz|lock) )+", "", instruction)
        name, _, rest = instruction.partition(" ")
        code[int(found.group(1), 16)] = (name, operands(re.sub(r"<.*>", "", rest).strip()), instruction)
    return code


class Analysis:
    def __init__(self, function, code):
        self.public = PUBLIC.get(function, PUBLIC.get(re.sub("_(avx2|portable)$", "", function), set()))
        self.code = code
        self.order = sorted(code)
        # Otherwise rbp is a register like others.
        self.frames = {"rsp", "rbp"} if any(c[2] == "mov    %rsp,%rbp" for c in code.values()) else {"rsp"}
        self.next = dict(zip(self.order, self.order[1:]))
        self.findings = {}

    def slots(self, base, displacement, address):
        """The stack slots, of eight bytes each, that an instruction reads or writes."""
        operands = " ".join(self.code[address][1])
        width = 32 if "%ymm" in operands else 16 if "%xmm" in operands else 8
        first = int(displacement or "0", 16) // 8
        return [("slot", base, first + k) for k in range(width // 8)]

    def value(self, state, operand, address):
        if operand.startswith("$"):
            return None
        if operand.startswith("%"):
            return state.get(canonical(operand[1:]))
        memory = MEMORY.search(operand)
        if not memory:
            return None
        displacement, base, index, _ = memory.groups()
        base = canonical(base[1:]) if base else None
        index = canonical(index[1:]) if index else None
        if base == "rip":
            return None
        pieces = [state.get(register) for register in (base, index) if register]
        if SECRET in pieces:
            self.findings[address] = "address"
            return SECRET
        if base in self.frames and not index:
            # The caller's part of the stack holds arguments.
            return combine(state.get(slot) for slot in self.slots(base, displacement, address))
        pointer = combine(pieces)
        return None if pointer is not None and pointer[1] in self.public else SECRET

    def store(self, state, operand, value, address):
        if operand.startswith("%"):
            state[canonical(operand[1:])] = value
            return
        memory = MEMORY.search(operand)
        if not memory:
            return
        displacement, base, index, _ = memory.groups()
        registers = [canonical(r[1:]) for r in (base, index) if r]
        if any(state.get(register) == SECRET for register in registers):
            self.findings[address] = "address"
        if base and canonical(base[1:]) in self.frames and not index:
            for slot in self.slots(canonical(base[1:]), displacement, address):
                state[slot] = value

    def step(self, address, state):
        """The addresses that follow and the state there."""
        name, ops, _ = self.code[address]
        state = dict(state)
        following = self.next.get(address)
        if name.startswith("ret") or name == "ud2":
            return [], state
        if name.startswith("jmp"):
            target = int(ops[0], 16) if re.fullmatch(r"[0-9a-f]+", ops[0]) else None
            return ([target] if target in self.code else []), state
        if name.startswith("j"):
            if state.get("flags") == SECRET:
                self.findings[address] = "jump"
            target = int(ops[0], 16)
            return [a for a in (following, target) if a in self.code], state
        if name.startswith("call"):
            # Only to a function that takes no secret: the stack protector's failure, memset.
            return [following], state
        if name.startswith(("nop", "endbr", "vzero", "push", "leave", "cld")) or not ops:
            return [following], state
        if name.startswith("pop"):
            state[canonical(ops[0][1:])] = None
            return [following], state
        if name.startswith("lea"):
            memory = MEMORY.search(ops[0])
            registers = [canonical(r[1:]) for r in memory.groups()[1:3] if r and r != "%rip"]
            self.store(state, ops[1], combine([state.get(r) for r in registers]), address)
            return [following], state
        if name.startswith(COMPARISONS) and not re.match(r"cmpxchg|cmp\w*[ps][sd]$", name):
            state["flags"] = combine([self.value(state, op, address) for op in ops])
            return [following], state
        if name.startswith("set"):
            self.store(state, ops[0], state.get("flags"), address)
            return [following], state
        sources = [self.value(state, op, address) for op in ops]
        zeroing = name in ("xor", "xorl", "pxor", "xorps", "vpxor", "vxorps", "sub", "psubq") and len(set(ops)) == 1
        if name.startswith(("mov", "vmov", "movabs", "cvt", "pshuf", "vpbroadcast")) and len(ops) == 2:
            partial = name in ("movb", "movw", "movhps", "movlps", "movsd", "movss") and ops[1].startswith("%xmm")
            result = combine(sources) if partial else sources[0]
        elif zeroing:
            result = None
        else:
            result = combine(sources)
            if name.startswith(("adc", "sbb", "cmov", "rcl", "rcr")):
                result = join(result, state.get("flags"))
        if name.startswith(("mul", "imul", "div")) and len(ops) == 1:
            result = join(combine(sources), state.get("rax"))
            state["rax"] = state["rdx"] = result
        elif name.startswith("mulx"):
            result = combine(sources[:1] + [state.get("rdx")])
            for op in ops[1:]:
                self.store(state, op, result, address)
        elif name.startswith("xchg"):
            for op in ops:
                self.store(state, op, result, address)
        else:
            self.store(state, ops[-1], result, address)
        if not name.startswith(("mov", "vmov", "not", "bswap", "p", "v", "cmov", "xchg", "mulx", "rorx", "shlx", "shrx")):
            state["flags"] = result
        return [following], state

    def run(self):
        start = {name: ("pointer", number) for number, name in enumerate(ARGUMENTS)}
        states = {self.order[0]: start}
        work = [self.order[0]]
        while work:
            address = work.pop()
            targets, after = self.step(address, states[address])
            for target in targets:
                if target is None:
                    continue
                known = states.get(target)
                merged = after if known is None else {
                    key: join(known.get(key), after.get(key)) for key in {**known, **after}}
                if merged != known:
                    states[target] = merged
                    work.append(target)
        return self.findings


def main():
    program = sys.argv[1]
    functions = sys.argv[2:] or all_functions(program)
    status = 0
    for function in functions:
        code = disassemble(program, function)
        if not code:
            print(f"{function}: not in {program}")
            status = max(status, 2)
            continue
        findings = Analysis(function, code).run()
        jumps = sum(name.startswith("j") and not name.startswith("jmp") for name, _, _ in code.values())
        print(f"{function}: {len(code)} instructions, {jumps} conditional jumps, {len(findings)} on secrets")
        for address, kind in sorted(findings.items()):
            print(f"  {address:x}: {kind}: {code[address][2]}")
            status = max(status, 1)
    sys.exit(status)


if __name__ == "__main__":
    main()
