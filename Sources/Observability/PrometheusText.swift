/// The text exposition format of Prometheus, version 0.0.4.
public enum PrometheusText {
    /// The media type of a scrape's answer.
    public static let mediaType = "text/plain; version=0.0.4; charset=utf-8"

    /// A value of a label between its quotes.
    static func escaped(label value: String) -> String {
        var text = ""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\\": text += "\\\\"
            case "\"": text += "\\\""
            case "\n": text += "\\n"
            default: text.unicodeScalars.append(scalar)
            }
        }
        return text
    }

    /// The text after `# HELP name`.
    static func escaped(help: String) -> String {
        var text = ""
        for scalar in help.unicodeScalars {
            switch scalar {
            case "\\": text += "\\\\"
            case "\n": text += "\\n"
            default: text.unicodeScalars.append(scalar)
            }
        }
        return text
    }

    static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        if value == value.rounded(), value.magnitude < 0x1p53 { return String(Int64(value)) }
        return "\(value)"
    }

    /// A name in which every other byte became an underscore.
    /// - Parameter colons: allowed in the names of metrics, not of labels.
    static func name(_ text: String, colons: Bool) -> String {
        var name = ""
        for (index, byte) in text.utf8.enumerated() {
            let isLetter = (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte) || byte == 0x5F
            let isDigit = (0x30...0x39).contains(byte) && index > 0
            let isAllowed = isLetter || isDigit || (colons && byte == 0x3A)
            name.unicodeScalars.append(isAllowed ? Unicode.Scalar(byte) : "_")
        }
        return name.isEmpty ? "_" : name
    }

    static func sample(_ name: String, _ labels: [MetricLabel], _ value: String, into text: inout String) {
        text += name
        if !labels.isEmpty {
            text += "{"
            text += labels.map { "\($0.name)=\"\(escaped(label: $0.value))\"" }.joined(separator: ",")
            text += "}"
        }
        text += " \(value)\n"
    }

    static func family(
        _ definition: MetricDefinition, _ series: [(labels: [MetricLabel], series: MetricSeries)],
        into text: inout String
    ) {
        let name = definition.name
        if !definition.help.isEmpty { text += "# HELP \(name) \(escaped(help: definition.help))\n" }
        text += "# TYPE \(name) \(definition.kind.rawValue)\n"
        for (labels, series) in series {
            switch series {
            case .counter(let counter): sample(name, labels, String(counter.value), into: &text)
            case .gauge(let gauge): sample(name, labels, number(gauge.value), into: &text)
            case .histogram(let histogram):
                let snapshot = histogram.snapshot
                var count: UInt64 = 0
                for (bound, own) in zip(histogram.bounds + [.infinity], snapshot.counts) {
                    count += own
                    let labels = labels + [MetricLabel(name: "le", value: number(bound))]
                    sample(name + "_bucket", labels, String(count), into: &text)
                }
                sample(name + "_sum", labels, number(snapshot.sum), into: &text)
                sample(name + "_count", labels, String(snapshot.count), into: &text)
            }
        }
    }
}
