import CRLWEKernels

extension NTTModulus {
    /// Unpacks some residues of a row.
    /// - Parameters:
    ///   - bytes: the packed row.
    ///   - range: which residues; both ends are multiples of 8.
    /// - Returns: false where a residue is not below the prime.
    public func unpack(
        _ out: UnsafeMutablePointer<UInt64>, _ bytes: UnsafeRawPointer, _ range: Range<Int>
    ) -> Bool {
        precondition(range.lowerBound % 8 == 0 && range.count % 8 == 0, "whole bytes")
        let source = (bytes + range.lowerBound * bitCount / 8).assumingMemoryBound(to: UInt8.self)
        return hkms_unpack_bits(out, source, range.count, UInt32(bitCount), value) == 1
    }
}

extension RNSPolynomial {
    /// Bytes of the packed rows of a basis: N residues of each prime's bit length, row after row.
    public static func packedByteCount(_ basis: RNSBasis) -> Int {
        basis.moduli.reduce(0) { $0 + basis.degree * $1.bitCount / 8 }
    }

    /// Appends the rows, each residue packed to its prime's bit length, least significant bit first.
    public func appendPacked(to bytes: inout [UInt8]) {
        let start = bytes.count
        bytes.append(contentsOf: repeatElement(0, count: Self.packedByteCount(basis)))
        bytes.withUnsafeMutableBytes { buffer in
            var offset = start
            for (row, modulus) in basis.moduli.enumerated() {
                let out = (buffer.baseAddress! + offset).assumingMemoryBound(to: UInt8.self)
                withRow(row) { hkms_pack_bits(out, $0, degree, UInt32(modulus.bitCount)) }
                offset += degree * modulus.bitCount / 8
            }
        }
    }

    /// Reads packed rows.
    /// - Parameter bytes: exactly ``packedByteCount(_:)`` bytes.
    /// - Returns: nil where the length differs or a residue is not below its prime.
    public init?(packed bytes: UnsafeRawBufferPointer, basis: RNSBasis, form: Form) {
        guard bytes.count == Self.packedByteCount(basis), let base = bytes.baseAddress else { return nil }
        self.init(uninitialized: basis, form: form)
        var offset = 0
        for (row, modulus) in basis.moduli.enumerated() {
            let source = (base + offset).assumingMemoryBound(to: UInt8.self)
            let valid = withMutableRow(row) {
                hkms_unpack_bits($0, source, basis.degree, UInt32(modulus.bitCount), modulus.value) == 1
            }
            guard valid else { return nil }
            offset += basis.degree * modulus.bitCount / 8
        }
    }
}
