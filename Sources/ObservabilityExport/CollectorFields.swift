import SecretMemory

/// HTTP fields that a collector wants, such as its credential: lines `Name: value` of a file that its owner alone may
/// read.
struct CollectorFields: Sendable, Equatable {
    let fields: [[String]]

    /// Why the file cannot be used; never what is in it.
    struct Unusable: Error, Equatable, CustomStringConvertible {
        let reason: String
        var description: String { reason }
    }

    /// - Throws: ``Unusable``.
    init(path: String) throws(Unusable) {
        do {
            let secret = try SecretFile.read(path)
            let text = secret.withUnsafeBytes { String(validating: $0, as: UTF8.self) }
            guard let text else { throw Unusable(reason: "\(path) is not text") }
            try self.init(text: text, name: path)
        } catch let error as Unusable {
            throw error
        } catch { throw Unusable(reason: "\(error)") }
    }

    init(text: String, name: String) throws(Unusable) {
        var fields: [[String]] = []
        for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            let line = line.hasSuffix("\r") ? line.dropLast() : line
            if line.allSatisfy({ $0 == " " }) { continue }
            let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, !parts[0].isEmpty, parts[0].utf8.allSatisfy(Self.isNameByte),
                parts[1].utf8.allSatisfy({ (0x20...0x7E).contains($0) })
            else { throw Unusable(reason: "\(name):\(number + 1) is not of the form Name: value") }
            let value = String(parts[1].drop { $0 == " " })
            fields.append([String(parts[0]), value])
        }
        self.fields = fields
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte) || byte == 0x2D
            || byte == 0x5F
    }
}
