import CPKCS11

/// Attributes and their values, as a module takes them.
struct ObjectTemplate: Sendable {
    private var values: [(attribute: Attribute, bytes: [UInt8])] = []

    mutating func set(_ attribute: Attribute, _ value: Bool) { values.append((attribute, [value ? 1 : 0])) }
    mutating func set(_ attribute: Attribute, _ value: [UInt8]) { values.append((attribute, value)) }
    mutating func set(_ attribute: Attribute, _ value: UInt) {
        values.append((attribute, withUnsafeBytes(of: value) { Array($0) }))
    }

    /// - Parameter secret: `CKA_VALUE`, which is not copied.
    func withAttributes<Result>(
        secret: UnsafeRawBufferPointer? = nil, _ body: (UnsafePointer<hkms_p11_attribute>, UInt) -> Result
    ) -> Result {
        // Each value where a module may read it as a number.
        let stride = MemoryLayout<UInt>.stride
        var bytes: [UInt8] = []
        var offsets: [Int] = []
        for (_, value) in values {
            offsets.append(bytes.count)
            bytes += value + [UInt8](repeating: 0, count: (stride - value.count % stride) % stride)
        }
        return bytes.withUnsafeMutableBytes { bytes in
            var attributes: [hkms_p11_attribute] = []
            for ((attribute, value), offset) in zip(values, offsets) {
                attributes.append(
                    hkms_p11_attribute(
                        type: attribute.rawValue, value: bytes.baseAddress.map { $0 + offset },
                        length: UInt(value.count)))
            }
            if let secret {
                // The standard's struct has no const; modules read templates.
                attributes.append(
                    hkms_p11_attribute(
                        type: Attribute.value.rawValue, value: UnsafeMutableRawPointer(mutating: secret.baseAddress),
                        length: UInt(secret.count)))
            }
            return attributes.withUnsafeBufferPointer { buffer in
                // A template is never empty.
                buffer.baseAddress.map { body($0, UInt(buffer.count)) } ?? body(UnsafePointer(bitPattern: 8)!, 0)
            }
        }
    }
}

/// What a module told of an object's attributes. Those that it does not tell are missing.
struct ObjectAttributes: Sendable {
    private let values: [Attribute: [UInt8]]

    init(_ values: [Attribute: [UInt8]]) { self.values = values }

    func bytes(_ attribute: Attribute) -> [UInt8]? { values[attribute] }

    func bool(_ attribute: Attribute) -> Bool? {
        guard let bytes = values[attribute], bytes.count == 1 else { return nil }
        return bytes[0] != 0
    }

    func number(_ attribute: Attribute) -> UInt? {
        guard let bytes = values[attribute], bytes.count == MemoryLayout<UInt>.size else { return nil }
        return bytes.withUnsafeBytes { $0.loadUnaligned(as: UInt.self) }
    }
}
