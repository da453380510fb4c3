import CPKCS11
import Foundation
import Glibc
import KeyManagement
import SecretMemory
import Testing
import TrustedKMSPKCS11

/// A real token that scripts/test makes, and what its administrator does to it through the same module.
struct PKCS11TestToken: Sendable {
    let module: String
    let label: String
    let pin: [UInt8]

    /// SoftHSM2: AES-GCM, key wrap, Ed25519.
    static var softHSM: PKCS11TestToken { get throws { try PKCS11TestToken("SOFTHSM") } }
    /// The soft token of opencryptoki: AES-CBC alone.
    static var openCryptoki: PKCS11TestToken { get throws { try PKCS11TestToken("OPENCRYPTOKI") } }

    static let needsRoot: Comment = "opencryptoki's daemon needs root"
    static var isRoot: Bool { geteuid() == 0 }

    private init(_ name: String) throws {
        module = try Self.variable("HKMS_TEST_\(name)_MODULE")
        label = try Self.variable("HKMS_TEST_\(name)_TOKEN")
        let file = try Self.variable("HKMS_TEST_\(name)_PIN_FILE")
        pin = Array(try String(contentsOfFile: file, encoding: .utf8).utf8).filter { $0 > 0x20 }
    }

    init(module: String, label: String, pin: String) {
        self.module = module
        self.label = label
        self.pin = Array(pin.utf8)
    }

    private static func variable(_ name: String) throws -> String {
        guard let value = ProcessInfo.processInfo.environment[name], !value.isEmpty else {
            throw ConformanceFailure(
                "\(name) is not set: these tests need a real token. Run them with scripts/test, which makes one")
        }
        return value
    }

    var uri: String { "pkcs11:token=\(label)?module-path=\(module)" }

    func connect(
        _ mechanism: PKCS11MechanismChoice = .auto, sessions: Int = 8, pin: [UInt8]? = nil, uri: String? = nil,
        timeLimit: Duration = .seconds(30)
    ) async throws -> PKCS11KMS {
        try await Self.connect(
            uri ?? self.uri, mechanism, sessions: sessions, pin: pin ?? self.pin, timeLimit: timeLimit)
    }

    static func connect(
        _ uri: String, _ mechanism: PKCS11MechanismChoice = .auto, sessions: Int = 8, pin: [UInt8],
        timeLimit: Duration = .seconds(30)
    ) async throws -> PKCS11KMS {
        try await PKCS11KMS.connect(
            PKCS11Configuration(
                uri: try PKCS11URI(uri), sessions: sessions, mechanism: mechanism, timeLimit: timeLimit),
            pin: try SecretBytes(copying: pin))
    }

    /// - Parameter body: the administrator is good for it alone. An adapter must be connected.
    func administer<Result>(_ body: (TokenAdministrator) throws -> Result) throws -> Result {
        let administrator = try TokenAdministrator(self)
        defer { administrator.close() }
        return try body(administrator)
    }
}

/// Calls the module itself, in the test's own process.
struct TokenAdministrator {
    let functions: UnsafeMutablePointer<hkms_p11_functions>
    let slot: UInt
    let session: UInt

    static let encrypt: UInt = 0x104
    static let decrypt: UInt = 0x105
    static let wrap: UInt = 0x106
    static let unwrap: UInt = 0x107

    init(_ token: PKCS11TestToken) throws {
        guard let library = dlopen(token.module, RTLD_NOW | RTLD_LOCAL),
            let symbol = dlsym(library, "C_GetFunctionList")
        else { throw ConformanceFailure("\(token.module) does not load") }
        var list: UnsafeMutablePointer<hkms_p11_functions>?
        _ = unsafeBitCast(symbol, to: hkms_p11_get_function_list.self)(&list)
        guard let list else { throw ConformanceFailure("no function list") }
        functions = list
        slot = try Self.slot(token, list)
        session = try Self.session(token, list, slot)
    }

    private static func slot(
        _ token: PKCS11TestToken, _ functions: UnsafeMutablePointer<hkms_p11_functions>
    ) throws -> UInt {
        var slots = [UInt](repeating: 0, count: 32)
        var count = UInt(slots.count)
        guard functions.pointee.get_slot_list?(1, &slots, &count) == 0 else { throw ConformanceFailure("slots") }
        for slot in slots.prefix(Int(count)) {
            var info = hkms_p11_token_info()
            guard functions.pointee.get_token_info?(slot, &info) == 0 else { continue }
            let name = withUnsafeBytes(of: info.label) { String(decoding: $0, as: UTF8.self) }
            if name.trimmingCharacters(in: .whitespaces) == token.label { return slot }
        }
        throw ConformanceFailure("no token \(token.label)")
    }

    private static func session(
        _ token: PKCS11TestToken, _ functions: UnsafeMutablePointer<hkms_p11_functions>, _ slot: UInt
    ) throws -> UInt {
        var session: UInt = 0
        guard functions.pointee.open_session?(slot, 6, nil, nil, &session) == 0 else {
            throw ConformanceFailure("no session")
        }
        let code = functions.pointee.login?(session, 1, token.pin, UInt(token.pin.count))
        guard code == 0 || code == 0x100 else { throw ConformanceFailure("no login") }
        return session
    }

    func close() { _ = functions.pointee.close_session?(session) }

    /// Every session of this process, the adapter's too.
    func closeAllSessions() { _ = functions.pointee.close_all_sessions?(slot) }
    func logOut() { _ = functions.pointee.logout?(session) }

    var sessionCount: UInt {
        get throws {
            var info = hkms_p11_token_info()
            guard functions.pointee.get_token_info?(slot, &info) == 0 else { throw ConformanceFailure("token") }
            return info.session_count
        }
    }

    /// Objects of a label, in no order.
    func objects(_ label: String) throws -> [UInt] {
        var bytes = Array(label.utf8)
        var found = [UInt](repeating: 0, count: 64)
        var count: UInt = 0
        let isFound = bytes.withUnsafeMutableBytes { bytes in
            var attribute = hkms_p11_attribute(type: 3, value: bytes.baseAddress, length: UInt(bytes.count))
            return functions.pointee.find_objects_init?(session, &attribute, 1) == 0
                && functions.pointee.find_objects?(session, &found, UInt(found.count), &count) == 0
                && functions.pointee.find_objects_final?(session) == 0
        }
        guard isFound else { throw ConformanceFailure("objects of \(label)") }
        return Array(found.prefix(Int(count)))
    }

    func bytes(_ attribute: UInt, of object: UInt) throws -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: 256)
        var length: UInt = 0
        let code = buffer.withUnsafeMutableBytes { buffer in
            var attribute = hkms_p11_attribute(type: attribute, value: buffer.baseAddress, length: UInt(buffer.count))
            defer { length = attribute.length }
            return functions.pointee.get_attribute_value?(session, object, &attribute, 1)
        }
        guard code == 0, length <= buffer.count else { throw ConformanceFailure("attribute of \(object)") }
        return Array(buffer.prefix(Int(length)))
    }

    func set(_ attribute: UInt, _ value: [UInt8], of object: UInt) throws {
        var value = value
        let code = value.withUnsafeMutableBytes { value in
            var attribute = hkms_p11_attribute(type: attribute, value: value.baseAddress, length: UInt(value.count))
            return functions.pointee.set_attribute_value?(session, object, &attribute, 1)
        }
        guard code == 0 else { throw ConformanceFailure("setting an attribute: \(String(describing: code))") }
    }

    func destroy(_ object: UInt) { _ = functions.pointee.destroy_object?(session, object) }

    /// An AES key by any attributes, beside those that make it a token's key.
    func generateKey(_ label: String, id: [UInt8], bytes: UInt = 32, flags: [UInt: Bool]) throws {
        var attributes: [(UInt, [UInt8])] = [
            (1, [1]), (3, Array(label.utf8)), (0x102, id), (0x161, withUnsafeBytes(of: bytes) { Array($0) }),
        ]
        attributes += flags.map { ($0.key, [$0.value ? 1 : 0]) }
        let buffers = attributes.map { attribute in
            let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: attribute.1.count, alignment: 8)
            buffer.copyBytes(from: attribute.1)
            return buffer
        }
        defer { for buffer in buffers { buffer.deallocate() } }
        let template = zip(attributes, buffers).map {
            hkms_p11_attribute(type: $0.0, value: $1.baseAddress, length: UInt($1.count))
        }
        var mechanism = hkms_p11_mechanism(type: 0x1080, parameter: nil, length: 0)
        var key: UInt = 0
        let code = functions.pointee.generate_key?(session, &mechanism, template, UInt(template.count), &key)
        guard code == 0 else { throw ConformanceFailure("generating a key: \(String(describing: code))") }
    }

    /// The attributes of a key that the adapter would use.
    static let fit: [UInt: Bool] = [
        0x002: true, 0x103: true, 0x162: false, encrypt: true, decrypt: true, wrap: false, unwrap: false,
    ]
}
