/// One raw record: values by field name. A field that is known to have no value is ``Value/missing``.
public struct Record: Sendable, Hashable, Codable {
    public enum Value: Sendable, Hashable, Codable {
        case number(Double)
        case missing

        public init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if container.decodeNil() {
                self = .missing
            } else if let number = try? container.decode(Double.self) {
                self = .number(number)
            } else {
                self.init(text: try container.decode(String.self))
            }
        }

        /// A number, `?` or nothing for missing; text that is no number becomes NaN, which encoding refuses
        /// by name.
        public init(text: String) {
            var text = Substring(text)
            while text.first?.isWhitespace == true { text.removeFirst() }
            while text.last?.isWhitespace == true { text.removeLast() }
            if text.isEmpty || text == "?" {
                self = .missing
            } else {
                self = .number(Double(text) ?? .nan)
            }
        }

        public func encode(to encoder: any Encoder) throws {
            var container = encoder.singleValueContainer()
            switch self {
            case .number(let number): try container.encode(number)
            case .missing: try container.encodeNil()
            }
        }
    }

    public var fields: [String: Value]

    public init(_ fields: [String: Value]) { self.fields = fields }

    public init(from decoder: any Decoder) throws {
        fields = try decoder.singleValueContainer().decode([String: Value].self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(fields)
    }

    /// The network inputs of this record.
    /// - Parameter index: names the record in errors.
    /// - Throws: ``InferenceError`` naming record and field.
    public func encoded(by features: [InputFeature], index: Int) throws(InferenceError) -> [Double] {
        var values: [Double] = []
        for feature in features {
            guard let value = fields[feature.name] else { throw .missingField(record: index, field: feature.name) }
            switch (feature.encoding, value) {
            case (.oneHot, .missing):
                guard feature.missing == true else { throw .missingValue(record: index, field: feature.name) }
                values += [Double](repeating: 0, count: feature.width - 1) + [1]
            case (_, .missing): throw .missingValue(record: index, field: feature.name)
            case (_, .number(let number)):
                guard number.isFinite else { throw .notANumber(record: index, field: feature.name) }
                values += try encode(number, feature, index)
            }
        }
        return values
    }

    private func encode(_ number: Double, _ feature: InputFeature, _ index: Int) throws(InferenceError) -> [Double] {
        switch feature.encoding {
        case .scaled:
            let minimum = feature.minimum ?? 0
            let maximum = feature.maximum ?? 1
            let lower = feature.valid?[0] ?? minimum
            let upper = feature.valid?[1] ?? maximum
            guard (lower...upper).contains(number) else {
                throw .outOfRange(record: index, field: feature.name, value: number, lower: lower, upper: upper)
            }
            return [(number - minimum) / (maximum - minimum)]
        case .binary:
            guard number == 0 || number == 1 else {
                throw .unknownCategory(record: index, field: feature.name, value: number, known: [0, 1])
            }
            return [number]
        case .oneHot:
            let categories = feature.categories ?? []
            guard let position = categories.firstIndex(of: number) else {
                throw .unknownCategory(record: index, field: feature.name, value: number, known: categories)
            }
            var values = [Double](repeating: 0, count: feature.width)
            values[position] = 1
            return values
        }
    }
}
