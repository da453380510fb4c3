import AccessPolicy
import ArgumentParser
import Foundation
import KeyManagement
import ServiceKit

/// `hkms doctor`
struct Doctor: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Check a configuration end to end, against everything that it names.",
        discussion: """
            Asks the KMS, the stores, the audit log, the issuers and the evaluation units what a gateway would ask \
            them, and says for each what is wrong and how to mend it. It makes no key, and removes what it writes; a \
            gateway may run meanwhile. Run it as the user that runs the gateway.

              hkms doctor --config /etc/hkms/hkms.yaml

            Exit codes: 0 nothing failed, warnings or not; 1 a check failed; 78 the configuration cannot be read.
            """)

    @Option(name: .long, help: "The configuration file of hkms serve.") var config: String
    @Option(name: .long, help: "Seconds that a check may take.") var limit = 10
    @Flag(
        name: .long,
        help: "Also check a KMS whose credential works once (secretIDWrapped): the gateway needs another then.")
    var unwrap = false
    @Flag(name: .long, help: "Write JSON.") var json = false

    func validate() throws {
        guard (1...600).contains(limit) else { throw ValidationError("--limit is 1 to 600") }
    }

    func run() async throws {
        let settings: ServerConfiguration
        do {
            settings = try ServerConfiguration(path: config)
        } catch let error as ConfigurationError {
            let finding = DoctorFinding.failed(error.description, fix: "Correct the named lines.")
            try write(DoctorReport(entries: [.init(name: "configuration", finding: finding, milliseconds: 0)]))
            throw ExitCode(78)
        }
        var entries = [
            DoctorExamination.Entry(name: "configuration", finding: mode(settings), milliseconds: 0)
        ]
        entries += ProcessChecks.run(settings.gateway)
        let progress = DoctorProgress()
        let (checks, kms) = checks(settings)
        let examination = DoctorExamination(checks: checks, limit: .seconds(limit))
        entries += await examination.run { progress.show($0) }
        progress.end()
        for known in kms { await known.kms.value?.shutdown() }
        let report = DoctorReport(entries: entries)
        try write(report)
        if report.hasFailed { throw ExitCode.failure }
    }

    private func mode(_ settings: ServerConfiguration) -> DoctorFinding {
        guard settings.gateway.development else { return .ok(config) }
        return .warning(
            "\(config) says development: true: keys are not protected as in production",
            fix: "Take the line out before real data comes.")
    }

    private func write(_ report: DoctorReport) throws {
        if json { try Terminal.write(report.json()) } else { try Terminal.write(report.text) }
    }

    /// - Returns: every check, and those of the KMSs, which connect to them.
    private func checks(_ settings: ServerConfiguration) -> ([DoctorCheck], [KMSChecks]) {
        let configuration = settings.gateway
        let named = [("kms", settings.kms)] + settings.otherKMS.map { ("otherKMS.\($0.name)", $0) }
        let kms = named.map { name, settings in
            KMSChecks(
                name, settings,
                context: .probe(installation: configuration.installation, tenant: configuration.tenant),
                other: .probe(installation: configuration.installation, tenant: "\(configuration.tenant).other"),
                isCurrent: name == "kms", usesUp: unwrap)
        }
        let installation = "installation.key"
        let keys = DoctorResult<InstallationKeys>()
        let storage = StorageChecks(configuration, keys: keys, keyCheck: installation)
        let audit = AuditChecks(configuration, keys: keys, keyCheck: installation, rows: storage.rows)
        let checks =
            [Self.policy(configuration.policyFile), SecretFileChecks(settings).check] + TLSChecks(configuration).checks
            + kms.flatMap(\.checks)
            + [InstallationKeyCheck.check(installation, settings, kms, result: keys)] + storage.checks
            + SealChecks.checks(
                settings, kms, rows: storage.rows, keys: keys, keyCheck: installation, limit: .seconds(limit))
            + audit.checks
            + IdentityChecks.checks(settings.identity)
            + UnitChecks.checks(configuration, keys: keys, keyCheck: installation)
            + [ListenCheck.check(configuration.listen)]
        return (checks, kms)
    }

    private static func policy(_ path: String?) -> DoctorCheck {
        DoctorCheck("policy", fix: "Correct the named lines; hkms policy check says more.") {
            guard let path else { return .ok("the built-in one") }
            let policy = try Policy(path: path)
            let fix = "hkms policy check \(path) says more."
            guard policy.checkSeparations().allSatisfy({ $0.outcome == .proved }) else {
                return .warning("\(path): a separation of duties does not hold, or is not decided", fix: fix)
            }
            let warnings = policy.warnings()
            guard warnings.isEmpty else {
                return .warning(warnings.map(\.description).joined(separator: "; "), fix: fix)
            }
            return .ok("\(path), \(policy.ruleCount) rules")
        }
    }
}
