import Crypto
import HKMSClient
import NIOCore
import ServiceKit

extension KeySets {
    /// What the two commands print as JSON.
    private struct Downloaded: Encodable, Sendable {
        let name: String
        let bytes: Int
        let digest: String
        let file: String
    }

    /// Streams a key into a file and checks it against the digest that the gateway lists.
    static func download(
        _ key: KeyObject, of objects: [KeySetInfo.Object], keySet: String, to path: String, _ client: HKMSClient,
        json: Bool
    ) async throws {
        guard let object = objects.first(where: { $0.name == key.name }) else {
            throw CommandFailure(
                title: "Unknown key", detail: "the key set has no \(key.name)",
                fix: "hkms keysets evaluation-key ID lists what it has.")
        }
        let file = try OutputFile(path)
        var hash = SHA256()
        let response = try await withSpinner("fetching \(Format.bytes(object.bytes))") {
            try await client.download(key, ofKeySet: keySet) { chunk in
                chunk.withUnsafeReadableBytes { hash.update(bufferPointer: $0) }
                try file.write(chunk.readableBytesView)
            }
        }
        let digest = HexCoding.encode(hash.finalize())
        guard digest == object.digest else {
            throw CommandFailure(
                title: "Key damaged", detail: "what arrived is not what the gateway lists as \(key.name)",
                fix: "Try again; if it stays so, the gateway's storage needs a look.")
        }
        try file.finish()
        if json {
            let body = Downloaded(name: key.name, bytes: response.body, digest: digest, file: path)
            return try JSONOutput(response, body: body).write()
        }
        try Terminal.write("\(key.name): \(Format.bytes(response.body)), SHA-256 \(digest), in \(path)\n")
    }
}
