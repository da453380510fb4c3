import Foundation
import Testing

/// Looks for secrets in files: every window of 16 bytes, raw, in hexadecimal and in base64 at each alignment.
struct SecretScan {
    private var needles: [UInt64: [[UInt8]]] = [:]
    /// By the first two bytes: most places of a file are ruled out at once.
    private var isPossible = [Bool](repeating: false, count: 1 << 16)

    init(_ secrets: [[UInt8]]) {
        for secret in Set(secrets) where secret.count >= 16 {
            let hex = secret.map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
            add(secret, 16, by: 1)
            add(Array(hex.utf8), 32, by: 2)
            add(Array(hex.uppercased().utf8), 32, by: 2)
            for shift in 0..<3 {
                let text = Data([UInt8](repeating: 0, count: shift) + secret).base64EncodedString()
                // The first and last characters depend on what is around the secret.
                let inner = Array(
                    text.utf8.prefix { $0 != UInt8(ascii: "=") }.dropFirst(shift == 0 ? 0 : 4).dropLast())
                add(inner, 20, by: 1)
                add(
                    inner.map { $0 == UInt8(ascii: "+") ? 0x2D : $0 == UInt8(ascii: "/") ? 0x5F : $0 }, 20,
                    by: 1)
            }
        }
    }

    private mutating func add(_ bytes: [UInt8], _ length: Int, by step: Int) {
        for start in stride(from: 0, through: bytes.count - length, by: step) {
            let needle = Array(bytes[start..<start + length])
            needles[Self.key(needle, 0), default: []].append(needle)
            isPossible[Int(needle[0]) << 8 | Int(needle[1])] = true
        }
    }

    private static func key(_ bytes: [UInt8], _ start: Int) -> UInt64 {
        (0..<8).reduce(0) { $0 << 8 | UInt64(bytes[start + $1]) }
    }

    func finds(in bytes: [UInt8]) -> Bool {
        guard bytes.count >= 16 else { return false }
        for start in 0...(bytes.count - 16)
        where isPossible[Int(bytes[start]) << 8 | Int(bytes[start + 1])] {
            for needle in needles[Self.key(bytes, start)] ?? [] where bytes[start...].starts(with: needle) {
                return true
            }
        }
        return false
    }

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
