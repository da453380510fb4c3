import CPKCS11
import KeyManagement
import SecretMemory

/// One session of a token, in the hands of one thread: the calls of PKCS#11 in terms of Swift.
struct PKCS11Session: @unchecked Sendable {
    // Sendable: the pool gives it to one thread at a time; the function list is the module's constant.

    let handle: UInt
    let slot: UInt
    /// Of the module, when it was opened.
    let generation: Int
    let functions: UnsafeMutablePointer<hkms_p11_functions>

    typealias Object = UInt

    // MARK: Objects

    /// Every object that has these attributes.
    func find(_ template: ObjectTemplate) throws(PKCS11Failure) -> [Object] {
        let begin = try function("C_FindObjectsInit", functions.pointee.find_objects_init)
        let next = try function("C_FindObjects", functions.pointee.find_objects)
        let end = try function("C_FindObjectsFinal", functions.pointee.find_objects_final)
        try check("C_FindObjectsInit", template.withAttributes { begin(handle, $0, $1) })
        var found: [Object] = []
        var batch = [Object](repeating: Cryptoki.noHandle, count: 64)
        while found.count < Self.maximumObjects {
            var count: UInt = 0
            let code = next(handle, &batch, UInt(batch.count), &count)
            guard code == Cryptoki.ok, count <= batch.count else {
                _ = end(handle)
                throw .call("C_FindObjects", code == Cryptoki.ok ? Cryptoki.generalError : code)
            }
            guard count > 0 else { break }
            found += batch.prefix(Int(count))
        }
        try check("C_FindObjectsFinal", end(handle))
        return found
    }

    /// More objects of one name than any key has versions.
    private static let maximumObjects = 4096
    private static let maximumAttributeBytes = 512

    /// The attributes that the token tells.
    func attributes(_ names: [Attribute], of object: Object) throws(PKCS11Failure) -> ObjectAttributes {
        let get = try function("C_GetAttributeValue", functions.pointee.get_attribute_value)
        let stride = Self.maximumAttributeBytes
        var bytes = [UInt8](repeating: 0, count: names.count * stride)
        var lengths: [UInt] = []
        let code = bytes.withUnsafeMutableBytes { bytes in
            var attributes = names.indices.map { index in
                hkms_p11_attribute(
                    type: names[index].rawValue, value: bytes.baseAddress.map { $0 + index * stride },
                    length: UInt(stride))
            }
            let code = get(handle, object, &attributes, UInt(attributes.count))
            lengths = attributes.map(\.length)
            return code
        }
        // With these, what can be told is told, and the rest has no length.
        guard
            [
                Cryptoki.ok, Cryptoki.attributeTypeInvalid, Cryptoki.attributeSensitive, Cryptoki.bufferTooSmall,
            ].contains(code)
        else { throw .call("C_GetAttributeValue", code) }
        var values: [Attribute: [UInt8]] = [:]
        for (index, length) in lengths.enumerated() where length <= stride {
            values[names[index]] = Array(bytes[index * stride..<index * stride + Int(length)])
        }
        return ObjectAttributes(values)
    }

    func set(_ attribute: Attribute, _ value: Bool, of object: Object) throws(PKCS11Failure) {
        try set(attribute, [value ? 1 : 0], of: object)
    }

    func set(_ attribute: Attribute, _ value: [UInt8], of object: Object) throws(PKCS11Failure) {
        let set = try function("C_SetAttributeValue", functions.pointee.set_attribute_value)
        var template = ObjectTemplate()
        template.set(attribute, value)
        try check("C_SetAttributeValue", template.withAttributes { set(handle, object, $0, $1) })
    }

    func destroy(_ object: Object) throws(PKCS11Failure) {
        let destroy = try function("C_DestroyObject", functions.pointee.destroy_object)
        try check("C_DestroyObject", destroy(handle, object))
    }

    func generateKey(_ mechanism: UInt, _ template: ObjectTemplate) throws(PKCS11Failure) -> Object {
        let generate = try function("C_GenerateKey", functions.pointee.generate_key)
        var key = Cryptoki.noHandle
        var mechanism = hkms_p11_mechanism(type: mechanism, parameter: nil, length: 0)
        try check("C_GenerateKey", template.withAttributes { generate(handle, &mechanism, $0, $1, &key) })
        return key
    }

    /// - Returns: the public half and the private one.
    func generateKeyPair(
        _ mechanism: UInt, public publicTemplate: ObjectTemplate, private privateTemplate: ObjectTemplate
    ) throws(PKCS11Failure) -> [Object] {
        let generate = try function("C_GenerateKeyPair", functions.pointee.generate_key_pair)
        var keys = (Cryptoki.noHandle, Cryptoki.noHandle)
        var mechanism = hkms_p11_mechanism(type: mechanism, parameter: nil, length: 0)
        let code = publicTemplate.withAttributes { publicAttributes, publicCount in
            privateTemplate.withAttributes { privateAttributes, privateCount in
                generate(
                    handle, &mechanism, publicAttributes, publicCount, privateAttributes, privateCount, &keys.0,
                    &keys.1)
            }
        }
        try check("C_GenerateKeyPair", code)
        return [keys.0, keys.1]
    }

    // MARK: Cryptography

    /// - Parameter parameter: the mechanism's, for the duration of the call.
    /// - Returns: what the token gave, `expected` bytes or another number.
    func encrypt(
        _ plaintext: UnsafeRawBufferPointer, _ type: UInt, parameter: UnsafeMutableRawBufferPointer, key: Object,
        expected: Int
    ) throws(PKCS11Failure) -> [UInt8] {
        let begin = try function("C_EncryptInit", functions.pointee.encrypt_init)
        let encrypt = try function("C_Encrypt", functions.pointee.encrypt)
        var mechanism = hkms_p11_mechanism(
            type: type, parameter: parameter.baseAddress, length: UInt(parameter.count))
        try check("C_EncryptInit", begin(handle, &mechanism, key))
        // Room for what some modules append.
        var bytes = [UInt8](repeating: 0, count: expected + 64)
        var count = UInt(bytes.count)
        let code = encrypt(
            handle, plaintext.bindMemory(to: UInt8.self).baseAddress, UInt(plaintext.count), &bytes, &count)
        try check("C_Encrypt", code)
        return Array(bytes.prefix(Int(min(count, UInt(bytes.count)))))
    }

    /// - Returns: exactly `expected` bytes.
    func decrypt(
        _ ciphertext: ArraySlice<UInt8>, _ type: UInt, parameter: UnsafeMutableRawBufferPointer, key: Object,
        expected: Int
    ) throws(PKCS11Failure) -> SecretBytes {
        let begin = try function("C_DecryptInit", functions.pointee.decrypt_init)
        let decrypt = try function("C_Decrypt", functions.pointee.decrypt)
        var mechanism = hkms_p11_mechanism(
            type: type, parameter: parameter.baseAddress, length: UInt(parameter.count))
        // Some modules ask for as much room as the ciphertext takes. It is there before the operation begins, or a
        // session that goes back would have one active.
        var buffer = try Self.secret(ciphertext.count)
        var count = UInt(buffer.count)
        try check("C_DecryptInit", begin(handle, &mechanism, key))
        let code = buffer.withUnsafeMutableBytes { buffer in
            ciphertext.withUnsafeBufferPointer { ciphertext in
                decrypt(
                    handle, ciphertext.baseAddress, UInt(ciphertext.count),
                    buffer.bindMemory(to: UInt8.self).baseAddress, &count)
            }
        }
        try check("C_Decrypt", code)
        guard count == expected else {
            throw .kms(.invalidResponse(reason: "C_Decrypt gave \(count) bytes where \(expected) were sealed"))
        }
        return try Self.prefix(expected, of: buffer)
    }

    /// - Parameter secret: becomes an object of this session for the duration of the call.
    func wrap(
        _ secret: UnsafeRawBufferPointer, _ type: UInt, key: Object
    ) throws(PKCS11Failure) -> [UInt8] {
        let create = try function("C_CreateObject", functions.pointee.create_object)
        let wrap = try function("C_WrapKey", functions.pointee.wrap_key)
        var template = Self.wrappable
        template.set(.sensitive, false)
        var object = Cryptoki.noHandle
        try check(
            "C_CreateObject", template.withAttributes(secret: secret) { create(handle, $0, $1, &object) })
        var mechanism = hkms_p11_mechanism(type: type, parameter: nil, length: 0)
        var bytes = [UInt8](repeating: 0, count: secret.count + 64)
        var count = UInt(bytes.count)
        let code = wrap(handle, &mechanism, key, object, &bytes, &count)
        try destroy(object)
        try check("C_WrapKey", code)
        return Array(bytes.prefix(Int(min(count, UInt(bytes.count)))))
    }

    func unwrap(_ wrapped: [UInt8], _ type: UInt, key: Object) throws(PKCS11Failure) -> SecretBytes {
        let unwrap = try function("C_UnwrapKey", functions.pointee.unwrap_key)
        var template = Self.wrappable
        template.set(.sensitive, false)
        var object = Cryptoki.noHandle
        var mechanism = hkms_p11_mechanism(type: type, parameter: nil, length: 0)
        let code = template.withAttributes {
            unwrap(handle, &mechanism, key, wrapped, UInt(wrapped.count), $0, $1, &object)
        }
        try check("C_UnwrapKey", code)
        let value: SecretBytes
        do throws(PKCS11Failure) {
            value = try self.value(of: object, atMost: wrapped.count)
        } catch {
            try destroy(object)
            throw error
        }
        try destroy(object)
        return value
    }

    /// A secret that is in the token for the time of one wrapping or unwrapping, and in this session alone.
    private static var wrappable: ObjectTemplate {
        var template = ObjectTemplate()
        template.set(.objectClass, Cryptoki.secretKey)
        template.set(.keyType, Cryptoki.genericSecret)
        template.set(.token, false)
        template.set(.isPrivate, true)
        template.set(.extractable, true)
        return template
    }

    private func value(of object: Object, atMost limit: Int) throws(PKCS11Failure) -> SecretBytes {
        let get = try function("C_GetAttributeValue", functions.pointee.get_attribute_value)
        var buffer = try Self.secret(limit)
        var count: UInt = 0
        let code = buffer.withUnsafeMutableBytes { buffer in
            var attribute = hkms_p11_attribute(
                type: Attribute.value.rawValue, value: buffer.baseAddress, length: UInt(buffer.count))
            let code = get(handle, object, &attribute, 1)
            count = attribute.length
            return code
        }
        try check("C_GetAttributeValue", code)
        guard count <= limit else { throw .call("C_GetAttributeValue", Cryptoki.generalError) }
        return try Self.prefix(Int(count), of: buffer)
    }

    func sign(_ message: [UInt8], _ type: UInt, key: Object) throws(PKCS11Failure) -> [UInt8] {
        let begin = try function("C_SignInit", functions.pointee.sign_init)
        let sign = try function("C_Sign", functions.pointee.sign)
        var mechanism = hkms_p11_mechanism(type: type, parameter: nil, length: 0)
        try check("C_SignInit", begin(handle, &mechanism, key))
        var signature = [UInt8](repeating: 0, count: 256)
        var count = UInt(signature.count)
        try check("C_Sign", sign(handle, message, UInt(message.count), &signature, &count))
        return Array(signature.prefix(Int(min(count, UInt(signature.count)))))
    }

    func random(_ count: Int) throws(PKCS11Failure) -> SecretBytes {
        let generate = try function("C_GenerateRandom", functions.pointee.generate_random)
        var bytes = try Self.secret(count)
        let code = bytes.withUnsafeMutableBytes {
            generate(handle, $0.bindMemory(to: UInt8.self).baseAddress, UInt($0.count))
        }
        try check("C_GenerateRandom", code)
        return bytes
    }

    /// Asks the token whether it is there at all.
    func checkToken() throws(PKCS11Failure) {
        let get = try function("C_GetTokenInfo", functions.pointee.get_token_info)
        var info = hkms_p11_token_info()
        let code = get(slot, &info)
        // A token that is gone is answered in many ways; here there is no other reason.
        guard code == Cryptoki.ok, info.flags & Cryptoki.tokenInitialized != 0 else {
            throw .call("C_GetTokenInfo", Cryptoki.tokenNotPresent)
        }
    }

    /// What the token does, by mechanism: its `CKF_` flags.
    func mechanisms() throws(PKCS11Failure) -> [UInt: UInt] {
        let list = try function("C_GetMechanismList", functions.pointee.get_mechanism_list)
        let inform = try function("C_GetMechanismInfo", functions.pointee.get_mechanism_info)
        var count: UInt = 0
        try check("C_GetMechanismList", list(slot, nil, &count))
        var types = [UInt](repeating: 0, count: Int(min(count, 4096)) + 16)
        count = UInt(types.count)
        try check("C_GetMechanismList", list(slot, &types, &count))
        var flags: [UInt: UInt] = [:]
        for type in types.prefix(Int(min(count, UInt(types.count)))) {
            var info = hkms_p11_mechanism_info()
            if inform(slot, type, &info) == Cryptoki.ok { flags[type] = info.flags }
        }
        return flags
    }

    /// The token's `CKF_` flags.
    func tokenFlags() throws(PKCS11Failure) -> UInt {
        let get = try function("C_GetTokenInfo", functions.pointee.get_token_info)
        var info = hkms_p11_token_info()
        try check("C_GetTokenInfo", get(slot, &info))
        return info.flags
    }

    // MARK: Login

    func logIn(_ pin: borrowing SecretBytes) throws(PKCS11Failure) {
        let login = try function("C_Login", functions.pointee.login)
        let code = pin.withUnsafeBytes {
            login(handle, Cryptoki.user, $0.bindMemory(to: UInt8.self).baseAddress, UInt($0.count))
        }
        if code != Cryptoki.userAlreadyLoggedIn { try check("C_Login", code) }
    }

    /// Whether the user is logged in, which is a state of the token for all sessions of a process.
    func isLoggedIn() throws(PKCS11Failure) -> Bool {
        let get = try function("C_GetSessionInfo", functions.pointee.get_session_info)
        var info = hkms_p11_session_info()
        try check("C_GetSessionInfo", get(handle, &info))
        return info.state == Cryptoki.readOnlyUser || info.state == Cryptoki.readWriteUser
    }

    func logOut() { _ = functions.pointee.logout?(handle) }

    // MARK: Tools

    private func function<Function>(_ name: String, _ function: Function?) throws(PKCS11Failure) -> Function {
        guard let function else { throw .call(name, Cryptoki.functionNotSupported) }
        return function
    }

    private func check(_ call: String, _ code: UInt) throws(PKCS11Failure) {
        guard code == Cryptoki.ok else { throw .call(call, code) }
    }

    private static func secret(_ count: Int) throws(PKCS11Failure) -> SecretBytes {
        do throws(SecretMemoryError) { return try SecretBytes(count: count) } catch { throw .kms(.memory(error)) }
    }

    private static func prefix(_ count: Int, of bytes: borrowing SecretBytes) throws(PKCS11Failure) -> SecretBytes {
        var prefix = try secret(count)
        prefix.withUnsafeMutableBytes { prefix in
            bytes.withUnsafeBytes { prefix.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[..<count])) }
        }
        return prefix
    }
}
