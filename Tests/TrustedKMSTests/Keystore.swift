import Foundation
import KeyManagement
import SecretMemory
import TestSupport
import Testing
import TrustedKMSSoftware

/// One keystore file in a folder of its own, under the cheapest cost.
struct Keystore {
    static let passphrase = "correct horse battery staple"
    let folder: TemporaryFolder
    var path: String { folder.file("keystore") }

    init() throws { folder = try TemporaryFolder() }

    static func withTwoKeys() async throws -> Keystore {
        let keystore = try Keystore()
        let kms = try keystore.create()
        for name in ["first", "second"] {
            let key = try #require(KMSKeyName(name))
            try await kms.createKey(key)
            try await kms.rotateKey(key)
        }
        return keystore
    }

    static func secret(_ text: String) throws(SoftwareKMSError) -> SecretBytes {
        do { return try SecretBytes(copying: text.utf8) } catch { throw .memory(error) }
    }

    @discardableResult
    func create(
        passphrase: String = Self.passphrase, developmentOnly: Bool = false
    ) throws(SoftwareKMSError) -> SoftwareKMS {
        try SoftwareKMS.create(
            at: path, passphrase: try Self.secret(passphrase), developmentOnly: developmentOnly, scryptCost: .minimum)
    }

    @discardableResult
    func open(passphrase: String = Self.passphrase) throws(SoftwareKMSError) -> SoftwareKMS {
        try SoftwareKMS(opening: path, passphrase: try Self.secret(passphrase))
    }

    func changePassphrase(
        of kms: SoftwareKMS, from old: String = Self.passphrase, to new: String
    ) async throws(SoftwareKMSError) {
        try await kms.changePassphrase(from: try Self.secret(old), to: try Self.secret(new))
    }

    func document() throws -> [String: Any] {
        try #require(JSONSerialization.jsonObject(with: bytes()) as? [String: Any])
    }

    func bytes() throws -> Data { try Data(contentsOf: URL(fileURLWithPath: path)) }

    func replace(with bytes: Data) throws {
        try? FileManager.default.removeItem(atPath: path)
        let isWritten = FileManager.default.createFile(
            atPath: path, contents: bytes, attributes: [.posixPermissions: 0o600])
        #expect(isWritten)
    }
}

/// The error that `body` throws; nil where it succeeds.
func keystoreError(_ body: () throws(SoftwareKMSError) -> Void) -> SoftwareKMSError? {
    do throws(SoftwareKMSError) {
        try body()
        return nil
    } catch {
        return error
    }
}

func keystoreError(_ body: () async throws(SoftwareKMSError) -> Void) async -> SoftwareKMSError? {
    do throws(SoftwareKMSError) {
        try await body()
        return nil
    } catch {
        return error
    }
}
