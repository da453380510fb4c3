import Foundation
import Yams

/// A YAML file that is read key by key, collecting everything that is wrong with it.
///
/// Read all values, then call ``finish()``, then use what was read: where a value is wrong its reader
/// notes the error and returns a placeholder, and `finish` throws all that was noted. Aliases, anchors,
/// duplicate keys, and files of more than ``maximumBytes`` are refused.
public struct YAMLDocument {
    /// The longest file, in bytes.
    public static let maximumBytes = 1 << 20

    /// The mapping at the top of the file; empty for an empty file.
    public let root: YAMLSection

    /// Reads the file at `path`.
    /// - Throws: ``ConfigurationError`` where it cannot be read or is no YAML mapping.
    public init(path: String) throws(ConfigurationError) {
        guard let bytes = Self.read(path) else {
            throw ConfigurationError(
                file: path, line: 1, message: "cannot be read; check that the file exists and who may read it")
        }
        guard bytes.count <= Self.maximumBytes else {
            throw ConfigurationError(file: path, line: 1, message: "is longer than \(Self.maximumBytes) bytes")
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw ConfigurationError(file: path, line: 1, message: "is not UTF-8 text")
        }
        try self.init(text: text, name: path)
    }

    /// Reads `text`; `name` stands for the file in errors.
    /// - Throws: ``ConfigurationError`` where it is no YAML mapping.
    public init(text: String, name: String) throws(ConfigurationError) {
        guard text.utf8.count <= Self.maximumBytes else {
            throw ConfigurationError(file: name, line: 1, message: "is longer than \(Self.maximumBytes) bytes")
        }
        let source = YAMLSource(name: name)
        if let node = try Self.compose(text, name: name) {
            guard let mapping = node.mapping else {
                throw ConfigurationError(
                    file: name, line: node.mark?.line ?? 1, message: "the file must be a mapping of keys to values")
            }
            root = YAMLSection(mapping: mapping, path: "", source: source)
        } else {
            root = YAMLSection(mapping: Node.Mapping([]), path: "", source: source)
        }
    }

    /// Notes the unknown keys of every section that was read, and throws all that was noted.
    public func finish() throws(ConfigurationError) {
        root.noteUnknownKeys()
        let issues = root.source.issues
        if !issues.isEmpty {
            // A section that was asked for twice notes the same thing twice.
            var seen: Set<ConfigurationError.Issue> = []
            let distinct = issues.filter { seen.insert($0).inserted }
            // Stable: issues of one line stay in the order in which they were found.
            let order = distinct.indices.sorted { (distinct[$0].line, $0) < (distinct[$1].line, $1) }
            throw ConfigurationError(order.map { distinct[$0] })
        }
    }

    private static func read(_ path: String) -> Data? {
        guard let file = FileHandle(forReadingAtPath: path) else { return nil }
        defer { try? file.close() }
        var bytes = Data()
        do {
            while bytes.count <= maximumBytes,
                let piece = try file.read(upToCount: maximumBytes + 1 - bytes.count), !piece.isEmpty
            {
                bytes.append(piece)
            }
        } catch {
            return nil
        }
        return bytes
    }

    private static func compose(_ text: String, name: String) throws(ConfigurationError) -> Node? {
        if let refusal = YAMLStructure.refusal(of: text) {
            throw ConfigurationError(file: name, line: refusal.line, message: refusal.message)
        }
        do {
            return try Parser(yaml: text, encoding: .utf8).singleRoot()
        } catch let error as YamlError {
            throw ConfigurationError(describing: error, file: name)
        } catch {
            throw ConfigurationError(file: name, line: 1, message: "is not YAML")
        }
    }
}

extension ConfigurationError {
    /// Without the text that Yams quotes: a configuration may hold a secret.
    fileprivate init(describing error: YamlError, file: String) {
        switch error {
        case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _),
            .composer(let context, let problem, let mark, _):
            let context = context.map { $0.text + ": " } ?? ""
            self.init(file: file, line: max(1, mark.line), message: "is not YAML: \(context)\(problem)")
        case .reader(let problem, let offset, _, let yaml):
            let before = yaml.prefix(offset ?? 0)
            let line = 1 + before.unicodeScalars.count { $0 == "\n" }
            self.init(file: file, line: line, message: "is not YAML: \(problem)")
        case .duplicatedKeysInMapping(let duplicates, let context):
            let keys = duplicates.map { "'\($0.prefix(64))'" }.joined(separator: ", ")
            self.init(file: file, line: max(1, context.mark.line), message: "a key appears twice: \(keys)")
        case .no, .memory, .writer, .emitter, .representer, .dataCouldNotBeDecoded:
            self.init(file: file, line: 1, message: "is not YAML")
        }
    }
}
