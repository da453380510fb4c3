import Foundation
import Gateway
import KeyManagement
import Logging
import StorageFiles
import StorageSQLite

/// What key sets are sealed by: whether the configuration names all of it, and whether a move was left half done.
enum SealChecks {
    /// - Parameters:
    ///   - kms: those of the configuration.
    ///   - rows: of the metadata store, where there is one.
    ///   - keys: whose rows and manifests they must be.
    ///   - keyCheck: makes them.
    ///   - limit: of a check; what was looked at until shortly before is told.
    static func checks(
        _ settings: ServerConfiguration, _ kms: [KMSChecks], rows: DoctorResult<ExaminedRows>,
        keys: DoctorResult<InstallationKeys>, keyCheck: String, limit: Duration
    ) -> [DoctorCheck] {
        let after = [StorageChecks.metadata, StorageChecks.objects, keyCheck]
        let (names, configuration) = (settings.allKMS.map(\.name), settings.gateway)
        return [
            DoctorCheck("storage.kms", after: after, fix: "Raise --limit: every key set's manifest is read.") {
                try await looking(configuration, kms, rows, keys) { manager in
                    finding(try await manager.examineSeals(until: .now + limit * 0.8), names: names)
                }
            },
            DoctorCheck("storage.rewrap", after: after, fix: "See hkms kms status.") {
                try await looking(configuration, kms, rows, keys) { manager in
                    guard let job = try await manager.rewrapJob() else { return .ok("key sets were never sealed anew") }
                    return finding(job)
                }
            },
        ]
    }

    /// Opens the stores for what only looks at them, where there are any: opening makes what is missing.
    private static func looking(
        _ configuration: GatewayConfiguration, _ all: [KMSChecks], _ rows: DoctorResult<ExaminedRows>,
        _ keys: DoctorResult<InstallationKeys>, _ body: (KeyManager) async throws -> DoctorFinding
    ) async throws -> DoctorFinding {
        guard rows.value != nil, FileManager.default.fileExists(atPath: configuration.objectsDirectory) else {
            return .skipped("there is nothing stored yet")
        }
        let known = try all.map { try $0.configured() }
        let objects = try FileObjectStore(directory: configuration.objectsDirectory)
        let metadata = try DatabaseReader(path: configuration.metadataFile)
        defer { metadata.close() }
        return try await body(
            KeyManager(
                configuration: .init(
                    installation: configuration.installation, gateway: configuration.gateway,
                    tenant: configuration.tenant, pinnedManifestKeys: configuration.pinnedManifestKeys),
                keys: try keys.get(), kms: KMSDirectory(known[0], others: Array(known.dropFirst())), objects: objects,
                metadata: metadata, compute: InlineCompute(),
                logger: Logger(label: "hkms.doctor") { _ in SwiftLogNoOpLogHandler() }))
    }

    private static func finding(_ found: SealExamination, names: [String]) -> DoctorFinding {
        var findings: [DoctorFinding] = []
        for (name, count) in found.keySets.sorted(by: { $0.key < $1.key }) where !names.contains(name) {
            findings.append(
                .failed(
                    "\(keySets(count)) sealed by the KMS \(name.prefix(64)), which the configuration does not name: "
                        + "nothing opens them",
                    fix: "Put it under otherKMS again, by this name; then hkms kms migrate moves what it sealed."))
        }
        if let first = found.firstDamaged {
            findings.append(
                .failed(
                    "\(keySets(found.damaged)) without a manifest that can be believed, \(first)",
                    fix: "Restore storage.metadata and storage.objects from backups of this installation."))
        }
        if !found.isComplete {
            findings.append(
                .warning(
                    "only \(keySets(found.count)) looked at in time", fix: "Raise --limit to see them all."))
        }
        let counts = found.keySets.sorted { $0.key < $1.key }.map { "\($0.value) by \($0.key)" }
        return .together(
            findings,
            otherwise: counts.isEmpty ? "no key sets yet" : "key sets are sealed \(counts.joined(separator: ", "))")
    }

    private static func finding(_ job: RewrapJob) -> DoctorFinding {
        let name = job.kind == .rotate ? "rotate \(job.to)" : "migrate from \(job.from) to \(job.to)"
        guard job.isUnfinished else { return .ok("the last job, \(name), is \(job.progress.phase.rawValue)") }
        let words = job.kind == .rotate ? "rotate --kms \(job.to)" : "migrate --from \(job.from) --to \(job.to)"
        return .warning(
            "unfinished: \(name), \(job.progress.rewrapped) sealed anew, last step \(Format.date(job.updated))",
            fix:
                "Unless it runs now, run it to its end: hkms kms \(words), with the options that it had; or give it up: "
                + "hkms kms cancel.")
    }

    private static func keySets(_ count: Int) -> String { count == 1 ? "1 key set is" : "\(count) key sets are" }
}
