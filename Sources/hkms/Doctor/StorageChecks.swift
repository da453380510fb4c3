import Foundation
import Gateway
import KeyManagement
import StorageFiles
import StorageSQLite

/// Both stores: what a gateway does with them, on an object that is removed again, and what they hold.
struct StorageChecks: Sendable {
    static let metadata = "storage.metadata"
    static let objects = "storage.objects"
    let checks: [DoctorCheck]
    /// Behind the check ``metadata``, where there is a file.
    let rows = DoctorResult<ExaminedRows>()

    private static let lowBytes = 1 << 30
    private static let probeBytes = 4096
    /// Of a collection that are looked at.
    private static let sampledRows = 1000

    /// - Parameters:
    ///   - keys: whose rows they must be.
    ///   - keyCheck: makes them.
    init(_ configuration: GatewayConfiguration, keys: DoctorResult<InstallationKeys>, keyCheck: String) {
        let (objects, metadata) = (configuration.objectsDirectory, configuration.metadataFile)
        let rows = rows
        checks = [
            DoctorCheck(Self.objects, fix: "See that the folder's device answers.") {
                try await Self.objects(in: objects)
            },
            DoctorCheck("storage.space", fix: "See that the devices answer.") {
                try await withoutBlocking {
                    .together(
                        [objects, metadata, configuration.audit.directory].map(Self.space),
                        otherwise: "\(Format.bytes(Self.freeBytes(objects) ?? 0)) free for objects")
                }
            },
            DoctorCheck(Self.metadata, fix: "Keep the file as it is for who looks into it; restore it from a backup.") {
                try await withoutBlocking { try Self.metadata(at: metadata, rows) }
            },
            DoctorCheck("storage.rows", after: [Self.metadata, keyCheck], fix: "Restore the file from a backup.") {
                guard let examined = rows.value else { return .skipped("there is no metadata file yet") }
                return Self.rows(examined, try keys.get())
            },
        ]
    }

    // MARK: Objects

    private static func objects(in directory: String) async throws -> DoctorFinding {
        guard FileManager.default.fileExists(atPath: directory) else { return notYet(directory, "storage.objects") }
        let fix = "See that the user who runs the gateway may write to storage.objects and that its device has room."
        let name = "hkms-doctor-\(UUID().uuidString.lowercased())"
        guard let key = ObjectKey(name) else { return .failed("\(name) is no key", fix: fix) }
        let store: FileObjectStore
        do throws(ObjectStoreError) {
            store = try FileObjectStore(directory: directory)
        } catch { return .failed("\(error)", fix: fix) }
        let result = await probe(store, key)
        // Whatever else went wrong, nothing is left.
        do throws(ObjectStoreError) {
            try await store.delete(key)
            guard case .success = result else { return DoctorFinding(result.failure ?? CancellationError(), fix: fix) }
            let left = try await store.list(prefix: name)
            guard left.isEmpty else {
                return .failed("a deleted object is still listed", fix: "Remove \(directory)/\(name).")
            }
        } catch { return .failed("\(error)", fix: fix) }
        return .ok("written, read, listed and deleted in \(directory)")
    }

    private static func probe(_ store: FileObjectStore, _ key: ObjectKey) async -> Result<Void, any Error> {
        do {
            let bytes = (0..<probeBytes).map { _ in UInt8.random(in: .min ... .max) }
            try await store.put(bytes, at: key, onlyIfAbsent: true)
            guard try await store.get(key, limit: probeBytes) == bytes else {
                throw DoctorFailure("an object came back changed", fix: "Check the device.")
            }
            guard try await store.list(prefix: key.value) == [key] else {
                throw DoctorFailure("an object that was written is not listed", fix: "Check the file system.")
            }
            return .success(())
        } catch { return .failure(error) }
    }

    private static func space(_ path: String) -> DoctorFinding {
        guard let free = freeBytes(path), free < lowBytes else { return .ok("") }
        let detail = "\(Format.bytes(free)) free where \(path) lies"
        let fix = "Make room: a key set takes tens to hundreds of MiB, and no operation is answered without its record."
        return free < 16 << 20 ? .failed(detail, fix: fix) : .warning(detail, fix: fix)
    }

    /// Of the nearest folder that exists.
    private static func freeBytes(_ path: String) -> Int? {
        var status = statvfs()
        guard statvfs(existing(path), &status) == 0 else { return nil }
        return Int(clamping: UInt64(status.f_bavail) * UInt64(status.f_frsize))
    }

    static func existing(_ path: String) -> String {
        // Name by name: `..` after a folder that is not there leads nowhere.
        var names = path.split(separator: "/")[...]
        while !names.isEmpty, !FileManager.default.fileExists(atPath: "/" + names.joined(separator: "/")) {
            names = names.dropLast()
        }
        return "/" + names.joined(separator: "/")
    }

    /// What the gateway's first start makes.
    static func notYet(_ path: String, _ setting: String) -> DoctorFinding {
        let folder = existing(path)
        guard access(folder, W_OK | X_OK) == 0 else {
            return .failed(
                "\(path) is not there, and \(folder) cannot be written to",
                fix: "Make it for the user who runs the gateway, or correct \(setting).")
        }
        return .ok("\(path) is not there yet; the gateway's start makes it")
    }

    // MARK: Metadata

    private static func metadata(
        at path: String, _ result: DoctorResult<ExaminedRows>
    ) throws -> DoctorFinding {
        guard FileManager.default.fileExists(atPath: path) else {
            let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
            guard FileManager.default.fileExists(atPath: folder) else {
                return .failed("\(folder) is not there", fix: "Make it: storage.metadata lies in a folder that exists.")
            }
            return notYet(path, "storage.metadata")
        }
        let examined = try DatabaseExamination(path: path, rows: sampledRows)
        guard examined.faults.isEmpty else {
            return .failed(
                "\(path) is damaged: \(examined.faults.joined(separator: "; "))",
                fix: "Keep it as it is for who looks into it; restore it from a backup.")
        }
        guard examined.isCurrent else {
            return .warning(
                "\(path) is of an earlier version", fix: "Back it up; the gateway's next start brings it up to date.")
        }
        result.set(ExaminedRows(examined))
        return .ok("\(examined.rowCount) rows, sound, can be written")
    }

    private static func rows(_ examined: ExaminedRows, _ keys: InstallationKeys) -> DoctorFinding {
        let forged = RowExamination(keys: keys).forged(of: examined.records)
        guard let first = forged.first else {
            return .ok("\(examined.records.count) of \(examined.count) rows looked at, all of this installation")
        }
        return .failed(
            "\(forged.count) of \(examined.records.count) rows are not of this installation, one in \(first.collection)",
            fix: "Restore storage.metadata from a backup of this installation; find out who wrote to it.")
    }
}

extension Result {
    fileprivate var failure: Failure? {
        if case .failure(let error) = self { error } else { nil }
    }
}
