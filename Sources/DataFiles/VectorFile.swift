import ServiceKit

/// A file of vectors: CSV without a header, one vector a row; or JSON, an array of arrays of numbers or
/// of objects with `real` and `imaginary`, as decrypt gives them.
public struct VectorFile: Sendable, Hashable {
    /// At least one; each has at least one value, all finite.
    public let vectors: [EncryptRequest.Vector]

    /// - Parameter bytes: any bytes; at most 16 MiB are read.
    public init(_ bytes: [UInt8]) throws(DataFileError) {
        let text = try DataText(bytes)
        vectors =
            text.isJSON
            ? try text.decode([Element].self, element: "vector").map(\.vector) : try Self.rows(text.text)
        guard !vectors.isEmpty else { throw .empty }
        for (index, vector) in vectors.enumerated() {
            guard !vector.real.isEmpty else {
                throw .malformedJSON(place: "vector \(index + 1)", reason: "there are no values")
            }
            if let imaginary = vector.imaginary, imaginary.count != vector.real.count {
                throw .malformedJSON(
                    place: "vector \(index + 1)", reason: "there are not as many imaginary values as real ones")
            }
        }
    }

    private static func rows(_ text: String) throws(DataFileError) -> [EncryptRequest.Vector] {
        var vectors: [EncryptRequest.Vector] = []
        for row in try CSVTable(text).rows {
            var values: [Double] = []
            for (index, text) in row.cells.enumerated() {
                let place = "row \(row.number)"
                let column = String(index + 1)
                guard let cell = DataCell(text: text) else {
                    throw .notANumber(place: place, column: column, text: DataText.shown(text))
                }
                guard let value = cell.value else { throw .missingValue(place: place, column: column) }
                values.append(value)
            }
            vectors.append(EncryptRequest.Vector(real: values))
        }
        return vectors
    }

    private struct Element: Decodable {
        let vector: EncryptRequest.Vector

        init(from decoder: any Decoder) throws {
            if var values = try? decoder.unkeyedContainer() {
                var real: [Double] = []
                while !values.isAtEnd { real.append(try values.decode(Double.self)) }
                vector = EncryptRequest.Vector(real: real)
            } else {
                vector = try EncryptRequest.Vector(from: decoder)
            }
        }
    }
}
