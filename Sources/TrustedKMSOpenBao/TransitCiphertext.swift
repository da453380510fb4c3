import KeyManagement

/// A Transit ciphertext: `vault:v<version>:<base64>`.
///
/// The server reads several spellings of one ciphertext (version 0 as 1, base64 with stray trailing
/// bits or line ends). Only the one that it writes is accepted here, so that no altered byte passes.
package struct TransitCiphertext {
    package let text: String
    let version: Int

    private static let prefix = Array("vault:v".utf8)

    package init?(_ bytes: some Collection<UInt8>) {
        let bytes = Array(bytes)
        guard bytes.count <= KMSSealedBlob.maximumBytes, bytes.starts(with: Self.prefix) else { return nil }
        let rest = bytes[Self.prefix.count...]
        guard let colon = rest.firstIndex(of: UInt8(ascii: ":")) else { return nil }
        let digits = rest[..<colon]
        guard (1...9).contains(digits.count), digits.allSatisfy({ (0x30...0x39).contains($0) }),
            digits.first != UInt8(ascii: "0"), let version = Int(String(decoding: digits, as: UTF8.self))
        else { return nil }
        let isCanonical = bytes[(colon + 1)...].withUnsafeBytes { (SecretBase64.decodedCount($0) ?? 0) > 0 }
        guard isCanonical else { return nil }
        self.version = version
        text = String(decoding: bytes, as: UTF8.self)
    }

    var blob: KMSSealedBlob { KMSSealedBlob(bytes: Array(text.utf8), keyVersion: version) }
}
