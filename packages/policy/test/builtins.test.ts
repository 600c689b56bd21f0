/** Builtins by group: usual answers, borders, and what they refuse (spec 05 §8). */
import { describe, expect, it } from 'vitest'
import { errorOf, resultOfExpression } from './support/engine.ts'

/** Expressions and their values. */
type Table = readonly (readonly [string, unknown])[]

function answers(name: string, table: Table): void {
  describe(name, () => {
    it.each(table)('%s', (expression, expected) => {
      expect(resultOfExpression(expression)).toEqual(expected)
    })
  })
}

function refusals(name: string, expressions: readonly string[]): void {
  describe(name, () => {
    it.each(expressions)('refuse %s', (expression) => {
      expect(errorOf(`x := ${expression}`)).toBe('PolicyEvaluationError:builtin')
    })
  })
}

answers('aggregates', [
  ['[count([]), count("a😀"), count({"k": 1}), count({1, 1})]', [0, 2, 1, 1]],
  ['[sum([1, 0.5]), product([2, 3]), sum(set()), product([])]', [1.5, 6, 0, 1]],
  ['[max([1, "a", null]), min({3, 1}), sort({"b", 1, null})]', ['a', 1, [null, 1, 'b']]],
  ['[1 | max([])]', []],
])
refusals('aggregates', ['count(1)', 'sum(["a"])', 'max(1)', 'sort({"a": 1})'])

answers('numbers and bits', [
  ['[abs(-1.5), ceil(1.2), floor(-1.2), round(2.5), round(-2.5)]', [1.5, 2, -2, 3, -3]],
  [
    '[numbers.range(3, 1), numbers.range_step(0, 5, 2)]',
    [
      [3, 2, 1],
      [0, 2, 4],
    ],
  ],
  [
    '[bits.and(6, 3), bits.or(6, 3), bits.xor(6, 3), bits.negate(0), bits.lsh(1, 70), bits.rsh(-8, 1)]',
    [2, 7, 5, -1, 2n ** 70n, -4],
  ],
  [
    '[format_int(255, 16), format_int(-5.7, 2), to_number("-0.5"), to_number("010"), to_number(null), to_number(true)]',
    ['ff', '-101', -0.5, 10, 0, 1],
  ],
  ['rand.intn("s", 0)', 0],
])
refusals('numbers and bits', [
  'bits.and(1.5, 1)',
  'bits.lsh(1, -1)',
  'format_int(1, 3)',
  'to_number("inf")',
  'to_number("1_0")',
  'numbers.range_step(1, 2, 0)',
  'numbers.range(1, 2.5)',
])

answers('arrays, sets and objects', [
  [
    '[array.concat([1], [2]), array.reverse([1, 2]), array.slice([1, 2, 3], -1, 2), array.flatten([1, [2, [3]]])]',
    [
      [1, 2],
      [2, 1],
      [1, 2],
      [1, 2, [3]],
    ],
  ],
  [
    '[union({{1}, {2}}), intersection({{1, 2}, {2}}), {1, 2} - {2}, {1} | {2}, {1, 2} & {2}]',
    [[1, 2], [2], [1], [1, 2], [2]],
  ],
  ['[object.get({"a": {1, [2]}}, ["a", [2], 0], "d"), object.get({"a": {1}}, ["a", 2], "d")]', [2, 'd']],
  [
    '[object.get({"a": {"b": false}}, ["a", "b"], 1), object.get({}, "k", "d"), object.keys({"b": 1, "a": 2})]',
    [false, 'd', ['a', 'b']],
  ],
  [
    '[object.union({"a": {"b": 1}}, {"a": {"c": 2}}), object.union_n([{"a": 1}, {"a": 2}]), object.remove({"a": 1, "b": 2}, ["a"]), object.filter({"a": 1, "b": 2}, {"a"})]',
    [{ a: { b: 1, c: 2 } }, { a: 2 }, { b: 2 }, { a: 1 }],
  ],
  [
    '[object.subset({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}), object.subset([1, 2, 3], [2, 3]), object.subset({1, 2}, {3})]',
    [true, true, false],
  ],
  [
    '[json.filter({"a": {"b": 1, "c": [1, 2]}}, ["a/c/0"]), json.remove({"a": {"b": 1, "c": 2}}, ["a/b"])]',
    [{ a: { c: [1] } }, { a: { c: 2 } }],
  ],
  [
    'json.patch({"a": [1]}, [{"op": "add", "path": "a/-", "value": 2}, {"op": "remove", "path": "a/0"}])',
    { a: [2] },
  ],
])
refusals('arrays, sets and objects', [
  'array.concat([], {})',
  'union([{1}])',
  'object.get([], "a", 1)',
  'object.union({}, [])',
  'json.remove([], ["a"])',
  '{1} - 1',
])

answers('strings', [
  [
    '[concat(",", ["a", "b"]), contains("abc", "bc"), startswith("abc", "ab"), endswith("abc", "bc"), indexof("abc", "z"), indexof_n("abab", "b")]',
    ['a,b', true, true, true, -1, [1, 3]],
  ],
  [
    '[lower("ÄB"), upper("ß"), replace("aba", "a", "x"), split("a,b", ","), substring("abc", 1, -1)]',
    ['äb', 'SS', 'xbx', ['a', 'b'], 'bc'],
  ],
  [
    '[trim("xax", "x"), trim_left("xax", "x"), trim_right("xax", "x"), trim_prefix("xax", "xa"), trim_suffix("xax", "ax"), trim_space("\\t a ")]',
    ['a', 'ax', 'xa', 'x', 'x', 'a'],
  ],
  [
    '[strings.any_prefix_match("ab", ["x", "a"]), strings.any_suffix_match(["ab"], "c"), strings.count("aaa", "a"), strings.replace_n({"a": "b", "b": "a"}, "ab"), strings.reverse("ab")]',
    [true, false, 3, 'ba', 'ba'],
  ],
])
refusals('strings', ['concat(",", [1])', 'substring("a", -1, 1)', 'split(1, ",")', 'indexof("a", "")'])

answers('sprintf', [
  ['sprintf("%s %d %v %%", ["a", 7, [1, "b"]])', 'a 7 [1, "b"] %'],
  [
    'sprintf("%5d|%-5d|%05d|%+d|%x|%X|%o|%b|%c", [42, 42, 42, 42, 255, 255, 8, 5, 65])',
    '   42|42   |00042|+42|ff|FF|10|101|A',
  ],
  [
    'sprintf("%.2f %e %g %v %6.1f %.0f", [3.14159, 12345.678, 0.00001, 1.5, 2.25, 2.5])',
    '3.14 1.234568e+04 1e-05 1.5    2.2 2',
  ],
  [
    'sprintf("%.3g %g %v %G", [1234.5, 123456789.5, 100000.5, 1.5e-9])',
    '1.23e+03 1.234567895e+08 100000.5 1.5E-09',
  ],
  ['sprintf("%[2]d %[1]s %q %x", ["a", 5, "b"])', String.raw`5 a '\x05' 62`],
  ['sprintf("%q %q", ["\\u0007\\"é\\u200b", 39])', String.raw`"\a\"é\u200b" '\''`],
  ['sprintf("%x|% x|%#x|%# X|%.1x", ["hi", "hi", "hi", "hi", "é"])', '6869|68 69|0x6869|0X68 0X69|c3'],
  ['sprintf("%d %s", ["a", 1])', '%!d(string=a) %!s(int=1)'],
  ['sprintf("%d", [18446744073709551616])', '18446744073709551616'],
  ['sprintf("x", [1])', 'x%!(EXTRA int=1)'],
])
refusals('sprintf', ['sprintf("%d %d", [1])', 'sprintf("%d", 1)'])

answers('regular expressions', [
  [
    '[regex.match("^a+$", "aaa"), regex.is_valid("("), regex.split(",", "a,b"), regex.find_n("a.", "abac", 1)]',
    [true, false, ['a', 'b'], ['ab']],
  ],
  [
    '[regex.replace("abab", "(a)(b)", "$2$1"), regex.find_all_string_submatch_n("a(b)?", "aab", -1), regex.template_match("urn:{[a-z]+}", "urn:x", "{", "}")]',
    [
      'baba',
      [
        ['a', ''],
        ['ab', 'b'],
      ],
      true,
    ],
  ],
  [
    '[glob.match("*.com", ["."], "a.com"), glob.match("*.com", ["."], "a.b.com"), glob.match("**.com", ["."], "a.b.com"), glob.match("{a,b}?", null, "bx"), glob.quote_meta("*")]',
    [true, false, true, true, '\\*'],
  ],
  ['[regex.globs_match("a.*", ".b"), regex.globs_match("a", "b")]', [true, false]],
])

answers('kinds', [
  [
    '[is_array([]), is_boolean(1), is_null(null), is_number("1"), is_object({}), is_set({}), is_string("")]',
    [true, false, true, false, true, false, true],
  ],
  [
    '[type_name(v) | some v in [null, true, 1, "s", [], {}, set()]]',
    ['null', 'boolean', 'number', 'string', 'array', 'object', 'set'],
  ],
])

answers('encodings', [
  [
    '[base64.encode("a?>"), base64.decode("YT8+"), base64.is_valid("YQ"), base64url.encode("a?>"), base64url.encode_no_pad("a"), base64url.decode("YQ")]',
    ['YT8+', 'a?>', false, 'YT8-', 'YQ', 'a'],
  ],
  [
    '[hex.encode("az"), hex.decode("617A"), urlquery.encode("a b&"), urlquery.decode("a+b%26"), urlquery.encode_object({"a": ["1", "2"]}), urlquery.decode_object("a=1&a=2")]',
    ['617a', 'az', 'a+b%26', 'a b&', 'a=1&a=2', { a: ['1', '2'] }],
  ],
  [
    '[json.marshal({"b": {1, 2}, "a": null}), json.unmarshal("[18446744073709551615]"), json.is_valid("{"), json.marshal_with_options({"a": [1]}, {"pretty": true, "indent": " "})]',
    ['{"a":null,"b":[1,2]}', [18446744073709551615n], false, '{\n "a": [\n  1\n ]\n}'],
  ],
  ['[yaml.marshal("yes"), yaml.marshal(["no", "n", "on"])]', ['"yes"\n', '- "no"\n- "n"\n- "on"\n']],
  [
    '[yaml.unmarshal("a: [1, b]"), yaml.is_valid("a: ["), yaml.marshal({"a": [1]})]',
    [{ a: [1, 'b'] }, false, 'a:\n- 1\n'],
  ],
])
refusals('encodings', [
  'base64.decode("YQ")',
  'hex.decode("6")',
  'json.unmarshal("{")',
  'base64url.decode("a")',
  'urlquery.decode("%zz")',
])

answers('time', [
  [
    '[time.parse_rfc3339_ns("1970-01-01T00:00:01.5+00:00"), time.parse_ns("2006-01-02", "2020-02-29"), time.parse_duration_ns("1h2m3.5s")]',
    [1500000000, 1582934400000000000n, 3723500000000],
  ],
  [
    '[time.date(0), time.clock([0, "America/New_York"]), time.weekday(0), time.add_date(0, 0, 1, 0), time.diff(0, 86400000000000)]',
    [[1970, 1, 1], [19, 0, 0], 'Thursday', 2678400000000000, [0, 0, 1, 0, 0, 0]],
  ],
  [
    '[time.format([t, z, "MST"]) | t := [1577836800000000000, 1593561600000000000][_]; z := ["Europe/London", "Europe/Berlin", "America/New_York", "Asia/Tokyo", "Asia/Seoul", "Europe/Lisbon", "America/Sao_Paulo", "UTC"][_]]',
    'GMT CET EST JST KST WET -03 UTC BST CEST EDT JST KST WEST -03 UTC'.split(' '),
  ],
  [
    '[time.format(0), time.format([0, "Asia/Kolkata", "Mon Jan 2 15:04:05 -0700 2006"]), time.format([1000000, "UTC", "RFC1123"])]',
    ['1970-01-01T00:00:00Z', 'Thu Jan 1 05:30:00 +0530 1970', 'Thu, 01 Jan 1970 00:00:00 UTC'],
  ],
])
refusals('time', [
  'time.parse_rfc3339_ns("2020-13-01T00:00:00Z")',
  'time.parse_rfc3339_ns("soon")',
  'time.date([0, "Mars/Olympus"])',
  'time.date(99999999999999999999)',
  'time.parse_duration_ns("1x")',
])

answers('units', [
  [
    '[units.parse("1.5K"), units.parse("1Ki"), units.parse("100m"), units.parse_bytes("1.1KiB"), units.parse_bytes("10MB")]',
    [1500, 1024, 0.1, 1126, 10000000],
  ],
])
refusals('units', ['units.parse("")', 'units.parse("1 K")', 'units.parse_bytes("0.0.0")'])

answers('graphs, versions, networks, hashes', [
  [
    '[graph.reachable({"a": ["b"], "b": []}, ["a"]), graph.reachable_paths({"a": ["b"], "b": []}, ["a"])]',
    [['a', 'b'], [['a', 'b']]],
  ],
  [
    '[semver.compare("1.0.0-rc.1", "1.0.0"), semver.is_valid("1.0"), semver.compare("1.10.0", "1.9.0")]',
    [-1, false, 1],
  ],
  [
    '[net.cidr_contains("10.0.0.0/8", "10.1.2.3"), net.cidr_intersects("10.0.0.0/25", "10.0.0.128/25"), net.cidr_is_valid("::1/129"), net.cidr_expand("10.0.0.0/31"), net.cidr_merge(["10.0.0.0/25", "10.0.0.128/25"])]',
    [true, false, false, ['10.0.0.0', '10.0.0.1'], ['10.0.0.0/24']],
  ],
  [
    '[crypto.sha256(""), crypto.md5(""), crypto.hmac.equal("a", "a")]',
    [
      'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
      'd41d8cd98f00b204e9800998ecf8427e',
      true,
    ],
  ],
  [
    '[json.match_schema({"a": 1}, {"required": ["b"]})[0], json.verify_schema({"type": "nothing"})[0]]',
    [false, false],
  ],
  ['opa.runtime()', {}],
])
refusals('schemas', [
  'json.match_schema([1], {"type": "array"})',
  'json.match_schema({}, {"type": "nothing"})',
])

describe('tokens', () => {
  // RFC 7515 appendix A.1: HS256 with the key of its text
  const token =
    'eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk'

  it('are decoded, and refused with a wrong secret or an expiry in the past', () => {
    expect(resultOfExpression(`io.jwt.decode("${token}")[1].iss`)).toBe('joe')
    expect(resultOfExpression(`io.jwt.verify_hs256("${token}", "wrong")`)).toBe(false)
    expect(resultOfExpression(`io.jwt.decode_verify("${token}", {"secret": "wrong"})[0]`)).toBe(false)
  })

  it('need exactly one kind of key', () => {
    expect(errorOf(`x := io.jwt.decode_verify("${token}", {})`)).toBe('PolicyEvaluationError:builtin')
    expect(errorOf(`x := io.jwt.decode_verify("${token}", {"secret": "a", "cert": "b"})`)).toBe(
      'PolicyEvaluationError:builtin',
    )
  })
})
