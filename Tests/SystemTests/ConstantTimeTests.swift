import Foundation
import Testing

/// No jump and no address depends on a seed, a secret key or an error: memcheck follows each secret bit through the
/// machine code that runs (Langley, ctgrind, 2010).
@Suite(.serialized) struct ConstantTimeTests {
    /// What is allowed: choosing the uniform halves of keys rejects words of a public stream.
    private static let suppressions = """
        {
           uniform halves come from public seeds
           Memcheck:Cond
           fun:hkms_mask_and_find_rejected_variable_time*
        }
        {
           uniform halves come from public seeds
           Memcheck:Value8
           fun:hkms_mask_and_find_rejected_variable_time*
        }
        {
           uniform halves come from public seeds
           Memcheck:Cond
           fun:*SamplersO10uniformRow*
        }
        {
           uniform halves come from public seeds
           Memcheck:Value8
           fun:*SamplersO10uniformRow*
        }

        """

    private func memcheck(_ work: String, kernels: String = "best") throws -> (status: Int32, log: String) {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("hkms-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let suppressions = folder.appendingPathComponent("suppressions")
        try Data(Self.suppressions.utf8).write(to: suppressions)
        let log = folder.appendingPathComponent("log")
        // Symbols stay. Debian 12's valgrind does not read clang's DWARF 5.
        let subject = folder.appendingPathComponent("subject")
        let stripped = try Programs.run(
            "/usr/bin/env",
            ["objcopy", "--strip-debug", try Programs.path("constant-time-subject"), subject.path])
        try #require(stripped.status == 0, "\(stripped.error)")
        let output = try Programs.run(
            "/usr/bin/env",
            [
                "valgrind", "--tool=memcheck", "--error-exitcode=9", "--undef-value-errors=yes", "--leak-check=no",
                "--suppressions=\(suppressions.path)", "--log-file=\(log.path)", "--num-callers=30",
                subject.path, work,
            ], environment: ["HKMS_KERNELS": kernels], seconds: 600)
        return (output.status, try String(contentsOf: log, encoding: .utf8))
    }

    @Test(
        "keys, encryption, decryption and its noise, by the machine's kernels and by the portable ones",
        arguments: ["keys", "encrypt", "decrypt", "flood"], ["best", "portable"])
    func flows(work: String, kernels: String) throws {
        let (status, log) = try memcheck(work, kernels: kernels)
        #expect(status == 0, "\(log.suffix(6000))")
        #expect(log.contains("ERROR SUMMARY: 0 errors"))
    }

    #if arch(x86_64)
        @Test("no kernel's machine code jumps on secrets or computes addresses from them")
        func objectCode() throws {
            let script = Programs.repository.appendingPathComponent("Tests/ObjectCode/branches.py").path
            func branches(_ program: String, _ functions: String...) throws -> Programs.Output {
                try Programs.run("/usr/bin/env", ["python3", script, try Programs.path(program)] + functions)
            }
            let kernels = try branches("hkms")
            #expect(kernels.status == 0, "\(kernels.out)")
            for name in [
                "ternary_from_words", "cbd21_from_words", "ntt_forward_small", "ntt_inverse", "multiply_plus",
                "negated_multiply_plus", "permute", "from_signed",
            ] {
                for form in ["", "_portable", "_avx2"] where !(name == "ntt_forward_small" && form != "") {
                    #expect(kernels.out.contains("hkms_\(name)\(form): "), "\(name)\(form)")
                }
            }
            #expect(kernels.out.contains("hkms_ntt_forward_last_avx2: "))
            // No flow of hkms floods yet: its linker leaves the sampler out.
            let sampler = try branches(
                "constant-time-subject", "hkms_gaussian_add", "hkms_gaussian_add_portable", "hkms_gaussian_add_avx2")
            #expect(sampler.status == 0, "\(sampler.out)")
            // It does see a jump, and an address.
            let jump = try branches("constant-time-subject", "hkms_jumps_on_bytes")
            #expect(jump.status == 1 && jump.out.contains(": jump: "), "\(jump.out)")
            let address = try branches("hkms", "hkms_mask_and_find_rejected_variable_time_portable")
            #expect(address.status == 1 && address.out.contains(": address: "), "\(address.out)")
        }
    #endif

    @Test("memcheck does see a jump and an address that depend on a seed", arguments: ["branch", "index"])
    func control(work: String) throws {
        let (status, log) = try memcheck(work)
        #expect(status == 9)
        #expect(log.contains(work == "branch" ? "Conditional jump" : "Use of uninitialised value"))
    }
}
