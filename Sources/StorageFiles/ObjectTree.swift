import KeyManagement
import LocalFiles

#if canImport(Darwin)
    import Darwin
#elseif canImport(Musl)
    import Musl
#else
    import Glibc
#endif

/// The blocking half of ``FileObjectStore``: objects in a tree of directories.
struct ObjectTree: Sendable {
    /// Starts with a dot, so no key names it. A root without it is the mount point of a volume that
    /// is not mounted.
    private static let temporaryDirectory = ".tmp"
    /// Age in seconds at which a temporary file must be a crash's.
    private static let abandonedAge = 3600
    /// How often `put` starts again when a `delete` removes the directory under it.
    private static let attempts = 100

    private let root: String

    init(root: String) throws(ObjectStoreError) {
        self.root = root
        do throws(SystemError) {
            try Directories.create(root)
            let directory = try FileDescriptor(directory: root)
            try directory.createDirectory(Self.temporaryDirectory)
            try directory.sync()
            try Self.removeAbandoned(in: try directory.openDirectory(Self.temporaryDirectory))
        } catch {
            throw unavailable(error)
        }
        try probe()
    }

    // MARK: - Operations of the port

    func put(_ bytes: [UInt8], at key: ObjectKey, onlyIfAbsent: Bool) throws(ObjectStoreError) {
        do throws(SystemError) {
            let directory = try openRoot()
            let temporary = try directory.openDirectory(Self.temporaryDirectory)
            let name = Self.temporaryName()
            defer { try? temporary.removeFile(name) }
            try Self.write(bytes, to: name, in: temporary)
            var attempt = 1
            while true {
                do throws(SystemError) {
                    try publish(
                        name, from: temporary, as: key.segments[...], in: directory, onlyIfAbsent: onlyIfAbsent)
                    return
                } catch let error where error.code == ENOENT && attempt < Self.attempts {
                    attempt += 1
                }
            }
        } catch let error where error.code == EEXIST {
            throw .alreadyExists(key.value)
        } catch {
            throw unavailable(error, key)
        }
    }

    func get(_ key: ObjectKey, limit: Int) throws(ObjectStoreError) -> [UInt8] {
        let outcome: ReadOutcome
        do throws(SystemError) {
            outcome = try read(key, limit: limit)
        } catch {
            throw unavailable(error, key)
        }
        switch outcome {
        case .bytes(let bytes): return bytes
        case .missing: throw .notFound(key.value)
        case .tooLarge: throw .tooLarge(key.value, limit: limit)
        case .notRegular: throw unavailable("what stands there is no regular file; remove it", key)
        case .cutShort: throw unavailable("the file shrank while it was read; who else writes here?", key)
        }
    }

    func delete(_ key: ObjectKey) throws(ObjectStoreError) {
        do throws(SystemError) {
            try remove(key.segments[...], in: try openRoot())
        } catch {
            throw unavailable(error, key)
        }
    }

    func list(prefix: String) throws(ObjectStoreError) -> [ObjectKey] {
        var path: [String] = []
        if let slash = prefix.utf8.lastIndex(of: UInt8(ascii: "/")) {
            guard let folder = ObjectKey(String(prefix[..<slash])) else { return [] }
            path = folder.segments
        }
        var keys: [ObjectKey] = []
        do throws(SystemError) {
            var directory = try openRoot()
            do throws(SystemError) {
                for segment in path {
                    let child = try directory.openDirectory(segment)
                    directory = child
                }
            } catch let error where error.meansAbsent {
                return []
            }
            try collect(prefix, at: path.map { $0 + "/" }.joined(), in: directory, into: &keys)
        } catch {
            throw unavailable(error)
        }
        return keys.sorted { $0.value.utf8.lexicographicallyPrecedes($1.value.utf8) }
    }

    /// Writes, syncs and removes a file.
    func probe() throws(ObjectStoreError) {
        do throws(SystemError) {
            let directory = try openRoot()
            let temporary = try directory.openDirectory(Self.temporaryDirectory)
            let name = Self.temporaryName()
            defer { try? temporary.removeFile(name) }
            try Self.write([0], to: name, in: temporary)
            try temporary.sync()
        } catch {
            throw unavailable(error)
        }
    }

    // MARK: - Steps

    private func openRoot() throws(SystemError) -> FileDescriptor {
        let directory = try FileDescriptor(directory: root)
        _ = try directory.status(of: Self.temporaryDirectory)
        return directory
    }

    /// Moves the temporary file to its place, making directories on the way. Each is synced after what
    /// is in it, also those that were there: whoever made them may not have synced them yet.
    private func publish(
        _ temporary: String, from source: borrowing FileDescriptor, as path: ArraySlice<String>,
        in directory: borrowing FileDescriptor, onlyIfAbsent: Bool
    ) throws(SystemError) {
        guard let name = path.first else { return }
        if path.count > 1 {
            try directory.createDirectory(name)
            let child = try directory.openDirectory(name)
            try publish(temporary, from: source, as: path.dropFirst(), in: child, onlyIfAbsent: onlyIfAbsent)
        } else {
            do throws(SystemError) {
                try place(temporary, from: source, as: name, in: directory, onlyIfAbsent: onlyIfAbsent)
            } catch let error where error.meansTaken && Self.isDirectory(name, in: directory) {
                // An empty directory is what a crash left of a folder, and takes up no key.
                do throws(SystemError) {
                    try directory.removeDirectory(name)
                } catch let error where error.code == EEXIST {
                    throw SystemError(code: ENOTEMPTY)
                }
                try place(temporary, from: source, as: name, in: directory, onlyIfAbsent: onlyIfAbsent)
            }
        }
        try directory.sync()
    }

    private func place(
        _ temporary: String, from source: borrowing FileDescriptor, as name: String,
        in directory: borrowing FileDescriptor, onlyIfAbsent: Bool
    ) throws(SystemError) {
        // A rename would replace; a link fails if the name is taken, and is portable.
        if onlyIfAbsent {
            try source.link(temporary, to: directory, as: name)
        } else {
            try source.rename(temporary, to: directory, as: name)
        }
    }

    private enum ReadOutcome {
        case bytes([UInt8])
        case missing, tooLarge, notRegular, cutShort
    }

    private func read(_ key: ObjectKey, limit: Int) throws(SystemError) -> ReadOutcome {
        var directory = try openRoot()
        let segments = key.segments
        do throws(SystemError) {
            for segment in segments.dropLast() {
                let child = try directory.openDirectory(segment)
                directory = child
            }
            let file = try directory.openFile(segments.last ?? "")
            let status = try file.status()
            switch status.kind {
            case .directory: return .missing
            case .other: return .notRegular
            case .regular: break
            }
            guard status.size <= limit else { return .tooLarge }
            let bytes = try file.read(status.size)
            return bytes.count == status.size ? .bytes(bytes) : .cutShort
        } catch let error where error.meansAbsent {
            return .missing
        } catch let error where error.code == ELOOP || error.code == ENXIO {
            // A symbolic link, a socket.
            return .notRegular
        }
    }

    /// Removes the object and the directories that it leaves empty.
    private func remove(_ path: ArraySlice<String>, in directory: borrowing FileDescriptor) throws(SystemError) {
        guard let name = path.first else { return }
        if path.count > 1 {
            do throws(SystemError) {
                let child = try directory.openDirectory(name)
                try remove(path.dropFirst(), in: child)
            } catch let error where error.meansAbsent {
                return
            }
            // Not synced: an empty directory that a crash brings back does no harm.
            try? directory.removeDirectory(name)
        } else {
            do throws(SystemError) {
                try directory.removeFile(name)
            } catch let error where error.meansAbsent || Self.isDirectory(name, in: directory) {}
            // Also when nothing was there: whoever removed it may not have synced yet.
            try directory.sync()
        }
    }

    /// - Parameter path: that of `directory` below the root, with a slash at its end, or empty.
    private func collect(
        _ prefix: String, at path: String, in directory: borrowing FileDescriptor, into keys: inout [ObjectKey]
    ) throws(SystemError) {
        for name in try directory.names() {
            // Names that are no part of a key are none of ours; this bounds the depth as well.
            guard let key = ObjectKey(path + name), key.value.utf8.starts(with: prefix.utf8) else { continue }
            do throws(SystemError) {
                switch try directory.status(of: name).kind {
                case .regular: keys.append(key)
                case .directory:
                    let child = try directory.openDirectory(name)
                    try collect(prefix, at: key.value + "/", in: child, into: &keys)
                case .other: break
                }
            } catch let error where error.meansAbsent {
                // Removed since its name was read.
            }
        }
    }

    private static func write(
        _ bytes: [UInt8], to name: String, in directory: borrowing FileDescriptor
    ) throws(SystemError) {
        let file = try directory.createFile(name)
        try file.write(bytes)
        try file.sync()
    }

    private static func isDirectory(_ name: String, in directory: borrowing FileDescriptor) -> Bool {
        (try? directory.status(of: name).kind) == .directory
    }

    private static func temporaryName() -> String {
        "\(getpid())-\(String(UInt64.random(in: .min ... .max), radix: 16))"
    }

    private static func removeAbandoned(in directory: borrowing FileDescriptor) throws(SystemError) {
        let oldest = time(nil) - abandonedAge
        for name in try directory.names() {
            do throws(SystemError) {
                let status = try directory.status(of: name)
                if status.kind == .regular, status.modified < oldest { try directory.removeFile(name) }
            } catch let error where error.meansAbsent {
                // Another process was first.
            }
        }
    }

    // MARK: - Errors

    private func unavailable(_ error: SystemError, _ key: ObjectKey? = nil) -> ObjectStoreError {
        unavailable(error.reason, key)
    }

    private func unavailable(_ reason: String, _ key: ObjectKey?) -> ObjectStoreError {
        .unavailable(reason: "object store \(root)\(key.map { ", \($0)" } ?? ""): \(reason)")
    }
}

extension ObjectKey {
    fileprivate var segments: [String] {
        value.split(separator: "/").map(String.init)
    }
}

extension SystemError {
    /// Whether the error says that nothing of this name is there. An intermediate symbolic link is
    /// among it (`ENOTDIR`).
    fileprivate var meansAbsent: Bool {
        code == ENOENT || code == ENOTDIR || code == ENAMETOOLONG
    }

    /// Whether the error says that something of this name is in the way.
    fileprivate var meansTaken: Bool {
        code == EEXIST || code == EISDIR
    }
}
