import CRLWEKernels
import SecretMemory

/// A polynomial of degree below N modulo X^N + 1, as residues modulo each prime of its basis.
///
/// Rows are contiguous and 64-byte aligned. Copies share their memory until one of them changes. It
/// holds public data; secrets have their own types.
public struct RNSPolynomial: Sendable {
    /// What the entries of a row are.
    public enum Form: Sendable, Hashable {
        /// Coefficients, ascending.
        case coefficient
        /// Values at the odd powers of psi, bit-reversed (the NTT domain).
        case evaluation
    }

    public let basis: RNSBasis
    public private(set) var form: Form
    private var storage: AlignedRows

    /// The zero polynomial.
    public init(basis: RNSBasis, form: Form) {
        self.init(uninitialized: basis, form: form)
        storage.words.update(repeating: 0, count: basis.count * basis.degree)
    }

    /// Memory of any content, for a caller that writes every word before it is read.
    public init(uninitialized basis: RNSBasis, form: Form) {
        self.basis = basis
        self.form = form
        storage = AlignedRows(count: basis.count * basis.degree)
    }

    /// The same for what is made of another polynomial: it is zeroed at its end if that one is.
    private init(uninitialized basis: RNSBasis, form: Form, madeOf source: RNSPolynomial) {
        self.init(uninitialized: basis, form: form)
        storage.isConfidential = source.storage.isConfidential
    }

    /// Has the memory of this polynomial, of copies of it, and of what is made of it, zeroed at its end: for messages.
    /// A sum or product is made of its left side: a ciphertext plus a message is a ciphertext.
    public mutating func markConfidential() {
        makeUnique()
        storage.isConfidential = true
    }

    public var degree: Int { basis.degree }
    public var rowCount: Int { basis.count }

    /// N words of row `index`, valid inside `body`.
    public func withRow<Result>(_ index: Int, _ body: (UnsafePointer<UInt64>) throws -> Result) rethrows -> Result {
        precondition(index >= 0 && index < rowCount, "a row of the basis")
        defer { withExtendedLifetime(storage) {} }
        return try body(UnsafePointer(storage.words + index * degree))
    }

    /// N words of row `index`, to change inside `body`.
    public mutating func withMutableRow<Result>(
        _ index: Int, _ body: (UnsafeMutablePointer<UInt64>) throws -> Result
    ) rethrows -> Result {
        precondition(index >= 0 && index < rowCount, "a row of the basis")
        makeUnique()
        defer { withExtendedLifetime(storage) {} }
        return try body(storage.words + index * degree)
    }

    /// All words, row after row, valid inside `body`: for rows that several threads read.
    public func withRows<Result, Failure: Error>(
        _ body: (UnsafePointer<UInt64>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        defer { withExtendedLifetime(storage) {} }
        return try body(UnsafePointer(storage.words))
    }

    /// All words, row after row, to change inside `body`: for rows that several threads write.
    public mutating func withMutableRows<Result, Failure: Error>(
        _ body: (UnsafeMutablePointer<UInt64>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        makeUnique()
        defer { withExtendedLifetime(storage) {} }
        return try body(storage.words)
    }

    private mutating func makeUnique() {
        if !isKnownUniquelyReferenced(&storage) { storage = storage.copy() }
    }

    /// Into the NTT domain, in place; already there is no error.
    public mutating func transform() {
        guard form == .coefficient else { return }
        let basis = basis
        withMutableRows { rows in
            Parallelism.forEach(below: basis.count) { basis.moduli[$0].transform(rows + $0 * basis.degree) }
        }
        form = .evaluation
    }

    /// Out of the NTT domain, in place; already there is no error.
    public mutating func inverseTransform() {
        guard form == .evaluation else { return }
        let basis = basis
        withMutableRows { rows in
            Parallelism.forEach(below: basis.count) { basis.moduli[$0].inverseTransform(rows + $0 * basis.degree) }
        }
        form = .coefficient
    }

    /// The first `basis.count` rows. `basis` must be a prefix of this polynomial's.
    public func prefix(_ basis: RNSBasis) -> RNSPolynomial {
        if basis === self.basis { return self }
        precondition(
            basis.count <= rowCount && zip(basis.moduli, self.basis.moduli).allSatisfy { $0.value == $1.value },
            "a prefix of the basis")
        var result = RNSPolynomial(uninitialized: basis, form: form, madeOf: self)
        for row in 0..<basis.count {
            withRow(row) { source in result.withMutableRow(row) { $0.update(from: source, count: degree) } }
        }
        return result
    }

    // MARK: Arithmetic. Both sides have compatible bases and the same form.

    private func requireCompatible(_ other: RNSPolynomial) {
        precondition(basis.isCompatible(with: other.basis) && form == other.form, "one basis and one form")
    }

    public static func + (left: RNSPolynomial, right: RNSPolynomial) -> RNSPolynomial {
        left.combined(right) { modulus, out, a, b in modulus.add(out, a, b) }
    }

    public static func - (left: RNSPolynomial, right: RNSPolynomial) -> RNSPolynomial {
        left.combined(right) { modulus, out, a, b in modulus.subtract(out, a, b) }
    }

    public static func += (left: inout RNSPolynomial, right: RNSPolynomial) {
        left.requireCompatible(right)
        for (row, modulus) in left.basis.moduli.enumerated() {
            right.withRow(row) { r in left.withMutableRow(row) { modulus.add($0, $0, r) } }
        }
    }

    /// The product of two polynomials in the NTT domain.
    public static func * (left: RNSPolynomial, right: RNSPolynomial) -> RNSPolynomial {
        precondition(left.form == .evaluation, "products are taken in the NTT domain")
        return left.combined(right) { modulus, out, a, b in modulus.multiply(out, a, b) }
    }

    /// self += a * b, all in the NTT domain.
    public mutating func addProduct(_ a: RNSPolynomial, _ b: RNSPolynomial) {
        requireCompatible(a)
        requireCompatible(b)
        precondition(form == .evaluation, "products are taken in the NTT domain")
        for (row, modulus) in basis.moduli.enumerated() {
            a.withRow(row) { x in b.withRow(row) { y in withMutableRow(row) { modulus.multiplyAdd($0, x, y) } } }
        }
    }

    public static prefix func - (polynomial: RNSPolynomial) -> RNSPolynomial {
        var result = RNSPolynomial(uninitialized: polynomial.basis, form: polynomial.form, madeOf: polynomial)
        for (row, modulus) in polynomial.basis.moduli.enumerated() {
            polynomial.withRow(row) { a in result.withMutableRow(row) { modulus.negate($0, a) } }
        }
        return result
    }

    private func combined(
        _ other: RNSPolynomial,
        _ body: (NTTModulus, UnsafeMutablePointer<UInt64>, UnsafePointer<UInt64>, UnsafePointer<UInt64>) -> Void
    ) -> RNSPolynomial {
        requireCompatible(other)
        var result = RNSPolynomial(uninitialized: basis, form: form, madeOf: self)
        for (row, modulus) in basis.moduli.enumerated() {
            withRow(row) { a in
                other.withRow(row) { b in result.withMutableRow(row) { body(modulus, $0, a, b) } }
            }
        }
        return result
    }

    /// True if every residue is zero.
    public var isZero: Bool {
        (0..<rowCount).allSatisfy { row in withRow(row) { words in (0..<degree).allSatisfy { words[$0] == 0 } } }
    }

    /// Applies X -> X^galoisElement, in the NTT domain, where it permutes positions.
    public func applying(_ automorphism: GaloisAutomorphism) -> RNSPolynomial {
        precondition(form == .evaluation && automorphism.degree == degree, "an automorphism of this ring, on values")
        var result = RNSPolynomial(uninitialized: basis, form: .evaluation, madeOf: self)
        for row in 0..<rowCount {
            withRow(row) { source in
                result.withMutableRow(row) { automorphism.permute($0, source) }
            }
        }
        return result
    }
}

/// Words with 64-byte alignment, so that vector kernels may load whole cache lines.
private final class AlignedRows: @unchecked Sendable {
    // Sendable: RNSPolynomial changes it only while it is the one owner.
    let words: UnsafeMutablePointer<UInt64>
    let count: Int
    var isConfidential = false

    init(count: Int) {
        self.count = count
        words = RowPool.take(count)
    }

    func copy() -> AlignedRows {
        let other = AlignedRows(count: count)
        other.words.update(from: words, count: count)
        other.isConfidential = isConfidential
        return other
    }

    deinit {
        if isConfidential { SecretMemory.wipe(UnsafeMutableRawBufferPointer(start: words, count: count * 8)) }
        RowPool.give(words, count)
    }
}
