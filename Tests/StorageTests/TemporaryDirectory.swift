import Foundation

/// A name of letters and digits that is used once.
func uniqueName() -> String {
    "t" + String(UInt64.random(in: .min ... .max), radix: 36)
}

/// A directory that lives as long as this object.
final class TemporaryDirectory: Sendable {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("hkms-\(uniqueName())").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    }

    deinit {
        // More than once: a database that is closing meanwhile removes files of its own.
        for _ in 0..<5 where FileManager.default.fileExists(atPath: path) {
            try? FileManager.default.removeItem(atPath: path)
        }
    }
}

/// Every regular file below `directory`, by path relative to it.
func files(below directory: String) -> Set<String> {
    var files: Set<String> = []
    for case let name as String in FileManager.default.enumerator(atPath: directory) ?? .init() {
        var isDirectory: ObjCBool = false
        if FileManager.default.fileExists(atPath: directory + "/" + name, isDirectory: &isDirectory),
            !isDirectory.boolValue
        {
            files.insert(name)
        }
    }
    return files
}

/// The permission bits of a file or directory.
func mode(of path: String) throws -> Int {
    let attributes = try FileManager.default.attributesOfItem(atPath: path)
    return (attributes[.posixPermissions] as? NSNumber)?.intValue ?? -1
}
