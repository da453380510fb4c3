import Crypto
import HKMSClient
import ServiceKit

/// Files of ciphertexts: octet bundles.
enum CiphertextFile {
    /// One ciphertext of a file.
    struct Entry: Encodable, Sendable {
        let digest: String
        let bytes: Int
    }

    static func read(_ path: String) throws -> [[UInt8]] {
        let bytes = try InputFile.read(path, maximumBytes: InputFile.maximumBundleBytes)
        do {
            return try OctetBundle.decode(
                bytes, maximumCount: HKMSClient.maximumCiphertexts, maximumBytes: InputFile.maximumBundleBytes)
        } catch {
            throw CommandFailure(
                title: "No bundle of ciphertexts", detail: "\(path): \(error.description)",
                fix: "Give a file that hkms encrypt or hkms jobs results has written.",
                code: CommandFailure.inputData)
        }
    }

    /// - Returns: what it wrote.
    static func write(_ ciphertexts: [[UInt8]], to path: String) throws -> [Entry] {
        try OutputFile.write(OctetBundle.encode(ciphertexts), to: path)
        return ciphertexts.map { Entry(digest: HexCoding.encode(SHA256.hash(data: $0)), bytes: $0.count) }
    }

    static func table(_ entries: [Entry]) -> Table {
        var table = Table(["ciphertext", "size", "SHA-256"])
        for (index, entry) in entries.enumerated() {
            table.add([String(index + 1), Format.bytes(entry.bytes), entry.digest])
        }
        return table
    }
}

/// What a command that wrote ciphertexts prints as JSON.
struct CiphertextFileBody: Encodable, Sendable {
    let ciphertexts: [CiphertextFile.Entry]
    let file: String
}
