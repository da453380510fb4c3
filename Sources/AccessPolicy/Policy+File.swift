import Crypto
import Foundation
import ServiceKit

extension Policy {
    /// Reads the policy file at `path`.
    /// - Throws: `ConfigurationError` with file and line of everything that is wrong.
    public init(path: String) throws(ConfigurationError) {
        // Read once: the digest is of the bytes that are parsed.
        guard let bytes = Self.read(path) else {
            throw ConfigurationError(
                file: path, line: 1, message: "cannot be read; check that the file exists and who may read it")
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw ConfigurationError(file: path, line: 1, message: "is not UTF-8 text")
        }
        try self.init(text: text, name: path)
    }

    /// Reads `text`; `name` stands for the file in errors and decisions.
    /// - Throws: `ConfigurationError` with file and line of everything that is wrong.
    public init(text: String, name: String) throws(ConfigurationError) {
        let document = try YAMLDocument(text: text, name: name)
        var reader = PolicyReader(file: name)
        let (rules, separations) = reader.read(document.root)
        try document.finish()
        self.init(
            rules: rules, separations: separations, name: name,
            digest: HexCoding.encode(SHA256.hash(data: Array(text.utf8))))
    }

    /// At most one byte more than a YAML file may have.
    private static func read(_ path: String) -> [UInt8]? {
        guard let file = FileHandle(forReadingAtPath: path) else { return nil }
        defer { try? file.close() }
        var bytes: [UInt8] = []
        do {
            while bytes.count <= YAMLDocument.maximumBytes,
                let piece = try file.read(upToCount: YAMLDocument.maximumBytes + 1 - bytes.count), !piece.isEmpty
            {
                bytes += piece
            }
        } catch {
            return nil
        }
        return bytes
    }
}
