// libyaml as Yams brings it: a target of that package, without a product of its own.
internal import CYaml

/// What a YAML text is built of, as libyaml reports it one event after the other: asked before Yams makes nodes.
///
/// Yams follows every alias and compares keys that are collections again and again, which takes exponential time in
/// their depth. No file of ours needs either, and here each is known by its first event, in linear time.
enum YAMLStructure {
    /// The most collections within each other.
    static let maximumDepth = 32

    struct Refusal {
        /// From 1.
        let line: Int
        let message: String
    }

    private enum Collection {
        case sequence
        case mapping(expectsKey: Bool)
    }

    /// The first thing in `text` that is not accepted; nil also where it is no YAML, which Yams reports.
    static func refusal(of text: String) -> Refusal? {
        var text = text
        return text.withUTF8 { bytes in
            var parser = yaml_parser_t()
            guard yaml_parser_initialize(&parser) == 1 else { return nil }
            defer { yaml_parser_delete(&parser) }
            yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING)
            yaml_parser_set_input_string(&parser, bytes.baseAddress, bytes.count)
            return refusal(of: &parser)
        }
    }

    private static func refusal(of parser: inout yaml_parser_t) -> Refusal? {
        var open: [Collection] = []
        while true {
            var event = yaml_event_t()
            guard yaml_parser_parse(&parser, &event) == 1 else { return nil }
            defer { yaml_event_delete(&event) }
            func refused(_ message: String) -> Refusal {
                Refusal(line: Int(event.start_mark.line) + 1, message: message)
            }
            let collection: Collection?
            let isNamed: Bool
            switch event.type {
            case YAML_DOCUMENT_END_EVENT, YAML_STREAM_END_EVENT: return nil
            case YAML_SEQUENCE_END_EVENT, YAML_MAPPING_END_EVENT:
                open.removeLast()
                continue
            case YAML_ALIAS_EVENT: (collection, isNamed) = (nil, true)
            case YAML_SCALAR_EVENT: (collection, isNamed) = (nil, event.data.scalar.anchor != nil)
            case YAML_SEQUENCE_START_EVENT: (collection, isNamed) = (.sequence, event.data.sequence_start.anchor != nil)
            case YAML_MAPPING_START_EVENT:
                (collection, isNamed) = (.mapping(expectsKey: true), event.data.mapping_start.anchor != nil)
            default: continue
            }
            if isNamed { return refused("anchors and aliases are not accepted; write the value out") }
            if case .mapping(let expectsKey) = open.last {
                if expectsKey, collection != nil { return refused("a key must be plain text") }
                open[open.count - 1] = .mapping(expectsKey: !expectsKey)
            }
            guard let collection else { continue }
            open.append(collection)
            if open.count > maximumDepth { return refused("is nested more than \(maximumDepth) levels deep") }
        }
    }
}
