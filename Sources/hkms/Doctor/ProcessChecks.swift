import CWipingFree
import Foundation
import Gateway
import SecretMemory

/// What the gateway asks of its process before it holds a secret. These set the process up, too: they come before the
/// others, which hold secrets.
enum ProcessChecks {
    static func run(_ configuration: GatewayConfiguration) -> [DoctorExamination.Entry] {
        _ = hkms_wiping_free_is_active()
        let findings = [
            ("process.coreDumps", coreDumps(configuration)),
            ("process.lockedMemory", lockedMemory(configuration)),
            ("process.user", user(configuration)),
            ("process.clock", clock()),
        ]
        SecretMemory.lockPolicy = configuration.lockPolicy
        return findings.map { .init(name: $0.0, finding: $0.1, milliseconds: 0) }
    }

    private static func coreDumps(_ configuration: GatewayConfiguration) -> DoctorFinding {
        if SecretMemory.forbidCoreDumps() { return .ok("forbidden, and nobody else reads this process's memory") }
        let detail = "the system does not let this process forbid core dumps of itself, which could hold keys"
        let fix = "Let the process call prctl(PR_SET_DUMPABLE): a seccomp profile may forbid it."
        return configuration.development ? .warning(detail, fix: fix) : .failed(detail, fix: fix)
    }

    /// As much as `hkms serve` locks at its start.
    private static func lockedMemory(_ configuration: GatewayConfiguration) -> DoctorFinding {
        let bytes = configuration.threads * Serve.lockedBytesPerThread
        let needed = "\(Format.bytes(bytes)) for limits.threads: \(configuration.threads)"
        SecretMemory.lockPolicy = .required
        do throws(SecretMemoryError) {
            _ = try SecretBytes(count: bytes)
            return .ok("\(needed) can be locked")
        } catch {
            let limit = Int(clamping: SecretMemory.lockedMemoryLimit)
            let detail = "\(needed) cannot be locked, the limit is \(Format.bytes(limit))"
            let fix =
                "Set LimitMEMLOCK= in systemd, --ulimit memlock= for containers or ulimit -l to \(bytes) bytes or "
                + "more, or lower limits.threads."
            return configuration.lockPolicy == .preferred ? .warning(detail, fix: fix) : .failed(detail, fix: fix)
        }
    }

    /// What a doctor may read and write says nothing of a gateway that runs as somebody else.
    private static func user(_ configuration: GatewayConfiguration) -> DoctorFinding {
        let user = geteuid()
        for path in [configuration.metadataFile, configuration.objectsDirectory, configuration.audit.directory] {
            var status = stat()
            guard stat(path, &status) == 0, status.st_uid != user else { continue }
            return .warning(
                "this runs as user \(user), and \(path) belongs to user \(status.st_uid)",
                fix: "Run hkms doctor as the user that runs the gateway: sudo -u '#\(status.st_uid)' hkms doctor ...")
        }
        return .ok("user \(user), as whom the stores are kept")
    }

    /// Certificates, tokens and signatures are refused under a clock that was never set.
    private static func clock() -> DoctorFinding {
        let now = Date()
        let released = Date(timeIntervalSince1970: 1_780_000_000)
        guard now > released else {
            return .failed("it says \(Format.date(now)), before this program was made", fix: "Set it, as by NTP.")
        }
        return .ok(Format.date(now))
    }
}
