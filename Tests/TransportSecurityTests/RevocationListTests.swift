import Foundation
import SwiftASN1
import Testing
import TransportSecurity
import X509

/// Lists of revoked certificates: what is read of them, and what is refused.
@Suite struct RevocationListTests {
    @Test("a list tells its issuer, its times and its serial numbers, and who signed it")
    func read() throws {
        let test = try TestList()
        let list = try RevocationList(test.bytes())
        #expect(list.issuer == test.authority.subject && list.count == 2)
        #expect(list.thisUpdate == Date(timeIntervalSince1970: 1_577_836_800))
        #expect(list.nextUpdate == Date(timeIntervalSince1970: 2_493_072_000))
        #expect(list.contains(.init(bytes: [0x01, 0x02])) && list.contains(.init(bytes: [0x80])))
        #expect(list.contains(.init(bytes: [0x00, 0x80])))
        #expect(!list.contains(.init(bytes: [0x02])) && !list.contains(.init(bytes: [0x01, 0x02, 0x00])))
        #expect(list.isSigned(by: test.authority))
        // Another key of that name, another name of that key's kind, and a key that is not for lists.
        #expect(!list.isSigned(by: try TestList().authority))
        let other = try TestList(name: "other")
        #expect(!list.isSigned(by: other.authority))
        let narrow = try TestList(mayRevoke: false)
        #expect(!(try RevocationList(narrow.bytes())).isSigned(by: narrow.authority))
        let silent = try TestList(mayRevoke: nil)
        #expect(try RevocationList(silent.bytes()).isSigned(by: silent.authority))
        // As PEM, of the first version, with nobody in it, and with times of four digits.
        let pem = PEMDocument(type: "X509 CRL", derBytes: try test.bytes()).pemString
        #expect(try RevocationList(Array(pem.utf8)).isSigned(by: test.authority))
        let first = try test.bytes {
            $0.version = nil
            $0.extensions = []
        }
        #expect(try RevocationList(first).isSigned(by: test.authority))
        #expect(try RevocationList(test.bytes { $0.serials = [] }).count == 0)
        let late = try RevocationList(test.bytes { $0.ends = "20520229120000Z" })
        #expect(late.nextUpdate == Date(timeIntervalSince1970: 2592820800))
    }

    @Test("what a list must not be is refused by name")
    func refused() throws {
        let test = try TestList()
        func fault(_ change: (inout TestList.Parts) -> Void) throws -> RevocationList.Fault? {
            let bytes = try test.bytes(change)
            do throws(RevocationList.Fault) {
                _ = try RevocationList(bytes)
                return nil
            } catch { return error }
        }
        // Delta, partial and unknown ones, whose extensions are critical.
        for name in ["2.5.29.27", "2.5.29.28", "1.2.3.4"] {
            #expect(try fault { $0.extensions = [(name, true)] } == .criticalExtension)
            #expect(try fault { $0.entryExtensions = [(name, true)] } == .criticalExtension)
            #expect(try fault { $0.extensions = [(name, false)] } == nil)
        }
        #expect(try fault { $0.entryExtensions = [("2.5.29.21", false)] } == nil)
        #expect(try fault { $0.version = 0 } == .version)
        #expect(try fault { $0.version = 2 } == .version)
        #expect(try fault { $0.version = nil } == .version)
        #expect(try fault { $0.innerAlgorithm = "1.2.840.10045.4.3.3" } == .algorithm)
        #expect(
            try fault {
                $0.innerAlgorithm = "1.2.840.113549.1.1.4"
                $0.outerAlgorithm = "1.2.840.113549.1.1.4"
            } == .algorithm)
        #expect(try fault { $0.ends = nil } == .times)
        #expect(try fault { $0.ends = "190101000000Z" } == .times)
        #expect(try fault { $0.made = "201301000000Z" } == .notDER)
        #expect(throws: RevocationList.Fault.notPEM) {
            try RevocationList(Array("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n".utf8))
        }
        let pem = PEMDocument(type: "X509 CRL", derBytes: try test.bytes()).pemString
        #expect(throws: RevocationList.Fault.notPEM) { try RevocationList(Array((pem + "\n" + pem).utf8)) }
        #expect(throws: RevocationList.Fault.tooLong) {
            try RevocationList([UInt8](repeating: 0x30, count: RevocationList.maximumBytes + 1))
        }
    }

    @Test("no prefix is a list, and no altered byte leaves a list that is signed")
    func altered() throws {
        let test = try TestList()
        let bytes = try test.bytes()
        for count in bytes.indices {
            #expect(throws: RevocationList.Fault.self) { try RevocationList(Array(bytes[..<count])) }
        }
        #expect(throws: RevocationList.Fault.notDER) { try RevocationList(bytes + [0]) }
        for index in bytes.indices {
            for bit in [UInt8(0x01), 0x80] {
                var altered = bytes
                altered[index] ^= bit
                guard let list = try? RevocationList(altered) else { continue }
                #expect(!list.isSigned(by: test.authority), "byte \(index), bit \(bit)")
            }
        }
    }

    @Test("whom no current list is responsible for is refused, and a list is followed by later ones alone")
    func lists() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("hkms-lists-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        func path(_ name: String) -> String { folder.appendingPathComponent(name).path }
        func write(_ bytes: [UInt8], _ name: String) throws {
            try Data(bytes).write(to: URL(fileURLWithPath: path(name)))
        }
        let (test, other) = (try TestList(), try TestList(name: "other"))
        let authorities = try [test, other].map { try $0.authority.serializeAsPEM().pemString }.joined(separator: "\n")
        try write(Array(authorities.utf8), "ca.pem")
        try write(test.bytes(), "one.crl")
        let lists = try RevocationLists(paths: [path("one.crl")], authorities: path("ca.pem"))
        let good = try #require(PeerCertificate(der: test.certificate(serial: [0x05])))
        let revoked = try #require(PeerCertificate(der: test.certificate(serial: [0x80])))
        let foreign = try #require(PeerCertificate(der: other.certificate(serial: [0x05])))
        let now = Date(timeIntervalSince1970: 1_800_000_000)
        #expect(lists.verdict(on: good, at: now) == .good && lists.verdict(on: revoked, at: now) == .revoked)
        #expect(lists.verdict(on: foreign, at: now) == .unknown)
        #expect(lists.problems(at: now).isEmpty)
        for time in [Date(timeIntervalSince1970: 2_493_072_001), Date(timeIntervalSince1970: 1_577_836_000)] {
            #expect(lists.verdict(on: good, at: time) == .unknown && lists.problems(at: time).count == 1)
        }

        // An earlier one, one of another authority, and one that nobody signed leave it as it is.
        #expect(lists.reload().isEmpty)
        for bytes in [
            try test.bytes { $0.made = "190101000000Z" }, try other.bytes { $0.made = "210101000000Z" },
            try TestList().bytes { $0.made = "210101000000Z" }, [],
        ] {
            try write(bytes, "one.crl")
            guard case .failed(path("one.crl"), _) = lists.reload().first else {
                Issue.record("a list is taken that must not be")
                continue
            }
            #expect(lists.verdict(on: good, at: now) == .good && lists.verdict(on: revoked, at: now) == .revoked)
        }
        try write(
            test.bytes {
                $0.made = "210101000000Z"
                $0.serials = [[0x05]]
            }, "one.crl")
        #expect(lists.reload() == [.renewed(path: path("one.crl"), revoked: 1)])
        #expect(lists.verdict(on: good, at: now) == .revoked && lists.verdict(on: revoked, at: now) == .good)

        // At the start such files are errors.
        try write(test.bytes(), "two.crl")
        #expect(throws: TLSError.self) {
            try RevocationLists(paths: [path("one.crl"), path("two.crl")], authorities: path("ca.pem"))
        }
        for bytes in [[], try TestList().bytes()] {
            try write(bytes, "two.crl")
            #expect(throws: TLSError.self) {
                try RevocationLists(paths: [path("two.crl")], authorities: path("ca.pem"))
            }
        }
    }
}
