import Foundation
import TestSupport
import Testing

extension SecretScan {
    /// Files below the folder that hold a secret; the software KMS's own keystore is none of HKMS's storage.
    func files(below folder: URL) -> [String] {
        let names =
            FileManager.default.enumerator(atPath: folder.path)?.compactMap { $0 as? String } ?? []
        return names.filter { name in
            guard !name.hasPrefix("keystore"),
                let bytes = try? Data(contentsOf: folder.appendingPathComponent(name))
            else { return false }
            return finds(in: Array(bytes))
        }
    }
}

/// Without this the silence of a scan would mean nothing.
@Suite struct SecretScanTests {
    @Test("a scan finds half a secret in a file, in every coding, and nothing where there is none")
    func finds() throws {
        let secrets = (0..<4).map { _ in (0..<32).map { _ in UInt8.random(in: 0...255) } }
        let scan = SecretScan(secrets)
        let noise = (0..<5000).map { _ in UInt8.random(in: 0...255) }
        #expect(!scan.finds(in: noise))
        #expect(!scan.finds(in: Array(Data(noise).base64EncodedString().utf8)))
        for secret in secrets {
            for start in [0, 5, 16] {
                let half = Array(secret[start..<start + 16])
                let hex = half.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
                #expect(scan.finds(in: noise + half + noise))
                #expect(scan.finds(in: noise + Array(hex.utf8) + noise))
                #expect(scan.finds(in: noise + Array(hex.uppercased().utf8)))
            }
            for shift in 0..<3 {
                let coded = Data(noise.prefix(3000 + shift) + secret + noise).base64EncodedString()
                #expect(scan.finds(in: Array(coded.utf8)))
            }
        }
    }
}
