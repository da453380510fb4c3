import AuditLog
import EvaluationUnit
import Foundation
import Gateway
import ServiceKit

private func document(_ bytes: [UInt8]) -> YAMLDocument? {
    guard let text = String(validating: bytes, as: UTF8.self) else { return nil }
    return try? YAMLDocument(text: text, name: "file.yaml")
}

/// Asks every section of a file for every kind of value at each of its keys, and at one that is not there.
func readYAML(_ bytes: [UInt8]) {
    guard let document = document(bytes) else { return }
    readAll(document.root, depth: 0)
    try? document.finish()
}

private enum Colour: String, CaseIterable {
    case red, green
}

private func readAll(_ section: YAMLSection, depth: Int) {
    for key in section.keys.prefix(8) + ["absent"] {
        _ = section.string(key)
        _ = section.optionalInt(key, in: -5...100)
        _ = section.int(key)
        _ = section.bool(key, default: true)
        _ = section.enumeration(key, of: Colour.self)
        _ = section.strings(key, default: [])
        guard depth < 3 else { continue }
        if let inner = section.optionalSection(key) { readAll(inner, depth: depth + 1) }
        for inner in section.optionalSections(key).prefix(4) { readAll(inner, depth: depth + 1) }
    }
}

func readTokens(_ bytes: [UInt8]) {
    guard let text = String(validating: bytes, as: UTF8.self),
        let file = try? StaticTokenFile(text: text, name: "tokens.yaml")
    else { return }
    precondition(file.authenticate(bearer: "") == nil, "no token is nobody's")
    _ = file.authenticate(bearer: "hkms_0")
}

func readAuditConfiguration(_ bytes: [UInt8]) {
    guard let document = document(bytes) else { return }
    _ = AuditConfiguration(document.root.optionalSection("audit"), directory: "/nowhere")
    try? document.finish()
}

func readGatewayConfiguration(_ bytes: [UInt8]) {
    guard let document = document(bytes) else { return }
    _ = GatewayConfiguration(document.root, directory: "/nowhere", processors: 2)
    try? document.finish()
}

/// The section `kms` as `hkms serve` reads it, by the same file; the KMS that it names is not connected.
func readKMSConfiguration(_ bytes: [UInt8]) {
    guard let document = document(bytes) else { return }
    _ = KMSRegistry.read(document.root.section("kms"), directory: "/nowhere", development: true)
    try? document.finish()
}

/// The reader takes a path, because a file names others beside it.
func readUnitConfiguration(_ bytes: [UInt8]) {
    // Files outside of the folder are none of a fuzzer's business.
    guard !bytes.contains(UInt8(ascii: "/")), UnitFolder.write(bytes) else { return }
    _ = try? UnitConfiguration(path: UnitFolder.path + "/unit.yaml") { _ in }
}

private enum UnitFolder {
    static let path: String = {
        let base = FileManager.default.fileExists(atPath: "/dev/shm") ? "/dev/shm" : NSTemporaryDirectory()
        let path = base + "/hkms-fuzz-\(ProcessInfo.processInfo.processIdentifier)"
        do {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        } catch { fatalError("\(error)") }
        atexit { try? FileManager.default.removeItem(atPath: UnitFolder.path) }
        return path
    }()

    static func write(_ bytes: [UInt8]) -> Bool {
        guard let file = fopen(path + "/unit.yaml", "w") else { return false }
        defer { fclose(file) }
        return fwrite(bytes, 1, bytes.count, file) == bytes.count
    }
}
