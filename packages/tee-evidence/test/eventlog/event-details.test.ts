import { JsonDecimal, type JsonValue } from '@passport-kbs/protocol'
import { aaelEvent, registerOfPcr } from '@passport-kbs/testing'
import { describe, expect, it } from 'vitest'
import { devicePathTexts } from '../../src/eventlog/device-path.ts'
import { eventDetails } from '../../src/eventlog/event-details.ts'
import { type EventTypeName, eventTypeName } from '../../src/eventlog/event-type.ts'
import { LogBudget } from '../../src/eventlog/log-budget.ts'
import { CheckFailure } from '../../src/index.ts'

function details(type: EventTypeName, data: Uint8Array | string) {
  return eventDetails(type, Buffer.from(data as string, 'utf8'), new LogBudget())
}

function detailsOfHex(type: EventTypeName, hex: string) {
  return eventDetails(type, Buffer.from(hex, 'hex'), new LogBudget())
}

function malformed(act: () => unknown): boolean {
  try {
    act()
  } catch (error) {
    return error instanceof CheckFailure && error.code === 'EVENTLOG_MALFORMED'
  }
  return false
}

describe('event types', () => {
  it('are the 36 of the specification', () => {
    const known: number[] = []
    for (const base of [0, 0x80000000]) {
      for (let code = base; code < base + 0x200; code++)
        if (eventTypeName(code) !== undefined) known.push(code)
    }
    expect(known).toHaveLength(36)
  })

  it.each([0x13, 0x8000000d, 0x800000e3, 0xffffffff, 0x7777])('do not include 0x%s', (code) => {
    expect(eventTypeName(Number(code))).toBeUndefined()
  })
})

describe.each([
  'EV_POST_CODE',
  'EV_ACTION',
  'EV_COMPACT_HASH',
  'EV_OMIT_BOOT_DEVICE_EVENTS',
  'EV_EFI_ACTION',
] as const)('%s', (type) => {
  it('is text', () => {
    expect(details(type, 'Calling EFI Application é')).toEqual({ string: 'Calling EFI Application é' })
    expect(details(type, '')).toEqual({ string: '' })
  })

  it('keeps a byte order mark and NULs', () => {
    expect(detailsOfHex(type, 'efbbbf4100')).toEqual({ string: '\ufeffA\0' })
  })

  it('is malformed when it is not UTF-8', () => {
    for (const hex of ['ff', 'c0af', 'eda080', 'f4908080', 'c3']) {
      expect(malformed(() => detailsOfHex(type, hex))).toBe(true)
    }
  })
})

describe('EV_EVENT_TAG', () => {
  it('is the tagged text without NULs', () => {
    expect(
      detailsOfHex('EV_EVENT_TAG', 'ed223b8f1a0000004c4f414445445f494d4147453a3a4c6f61644f7074696f6e7300'),
    ).toEqual({
      string: 'LOADED_IMAGE::LoadOptions',
    })
  })

  it('replaces what is not UTF-8, unless it is AAEL', () => {
    expect(detailsOfHex('EV_EVENT_TAG', '01000000030000004100ff')).toEqual({ string: 'A\ufffd' })
    expect(malformed(() => detailsOfHex('EV_EVENT_TAG', '4c4541410500000061206220ff'))).toBe(true)
  })

  it('ignores what stands behind the tagged data', () => {
    expect(detailsOfHex('EV_EVENT_TAG', '01000000010000004142')).toEqual({ string: 'A' })
  })

  it.each(['', '010000', '01000000', '01000000020000', '010000000200000041', '01000000ffffffff41'])(
    'is malformed when it is cut: %j',
    (hex) => {
      expect(malformed(() => detailsOfHex('EV_EVENT_TAG', hex))).toBe(true)
    },
  )
})

describe('an AAEL entry', () => {
  function content(text: string): JsonValue | undefined {
    const { data } = details('EV_EVENT_TAG', aaelEvent('d', 'o', text).data)
    return data?.content
  }

  it('has domain, operation and content, and is named', () => {
    expect(details('EV_EVENT_TAG', aaelEvent('domain', 'operation', 'content').data)).toEqual({
      string: 'domain operation content',
      unicode_name: 'AAEL',
      data: { domain: 'domain', operation: 'operation', content: 'content' },
    })
  })

  it.each<[string, JsonValue]>([
    ['', ''],
    ['a b  c', 'a b  c'],
    ['12', 12],
    ['-7', -7],
    ['18446744073709551615', 18446744073709551615n],
    ['true', true],
    ['null', null],
    ['"text"', 'text'],
    ['[1,[2]]', [1, [2]]],
    [' {"a":1} ', { a: 1 }],
    ['1.50', new JsonDecimal('1.50')],
    ['trueish', 'trueish'],
    ['1 2', '1 2'],
    ['{"a":1,"a":2}', '{"a":1,"a":2}'],
    ['[', '['],
    ['NaN', 'NaN'],
  ])('has %j as content', (text, value) => {
    expect(content(text)).toEqual(value)
  })

  it('may have JSON of 32 levels; what is deeper stays text', () => {
    const nested = (levels: number) => '['.repeat(levels) + ']'.repeat(levels)
    expect(Array.isArray(content(nested(32)))).toBe(true)
    expect(content(nested(33))).toBe(nested(33))
  })

  it('keeps NULs in the content, not in the text', () => {
    const { string, data } = details('EV_EVENT_TAG', aaelEvent('d', 'o', 'a\0b').data)
    expect(string).toBe('d o ab')
    expect(data?.content).toBe('a\0b')
  })

  it.each(['', 'domain', 'domain operation'])('is malformed without two spaces: %j', (text) => {
    const data = Buffer.concat([Buffer.from('4c454141', 'hex'), Buffer.alloc(4), Buffer.from(text)])
    data.writeUInt32LE(text.length, 4)
    expect(malformed(() => details('EV_EVENT_TAG', data))).toBe(true)
  })

  it('goes into the register of its PCR', () => {
    expect([0, 1, 2, 6, 7, 8, 15, 16, 17, 23].map(registerOfPcr)).toEqual([4, 1, 2, 2, 1, 3, 3, 4, 4, 4])
  })
})

describe('EV_PLATFORM_CONFIG_FLAGS', () => {
  it('is text without control characters, with a space for U+0010', () => {
    expect(detailsOfHex('EV_PLATFORM_CONFIG_FLAGS', '41104200430a44c28545c2a046')).toEqual({
      string: 'A BCDE\u00a0F',
    })
    expect(detailsOfHex('EV_PLATFORM_CONFIG_FLAGS', '7f1f20c29f')).toEqual({ string: ' ' })
  })

  it('is the empty text when it is not UTF-8', () => {
    expect(detailsOfHex('EV_PLATFORM_CONFIG_FLAGS', '41ff')).toEqual({ string: '' })
    expect(detailsOfHex('EV_PLATFORM_CONFIG_FLAGS', '')).toEqual({ string: '' })
  })
})

describe('EV_IPL', () => {
  it.each([
    ['4d6f', 'Mo'],
    ['4d6f6b4c69737400', 'MokList'],
    ['4142004344', 'AB'],
    ['0041', ''],
    ['fffe00', 'fffe00'],
    ['41ff', '41ff'],
    ['2e006c0069006e00750078000000', 'linux'],
    ['2e000000', ''],
    ['2e0000d80000', '\ufffd'],
    ['2e2e', '..'],
  ])('%s is %j', (hex, string) => {
    expect(detailsOfHex('EV_IPL', hex)).toEqual({ string })
  })

  it.each(['', '41', '2e00', '2e0041'])('is malformed: %j', (hex) => {
    expect(malformed(() => detailsOfHex('EV_IPL', hex))).toBe(true)
  })
})

describe.each([
  'EV_EFI_VARIABLE_DRIVER_CONFIG',
  'EV_EFI_VARIABLE_BOOT',
  'EV_EFI_VARIABLE_BOOT2',
  'EV_EFI_VARIABLE_AUTHORITY',
] as const)('%s', (type) => {
  const guid = '61dfe48bca93d211aa0d00e098032b8c'

  it('is a variable', () => {
    expect(detailsOfHex(type, `${guid}0200000000000000020000000000000050004b000102`)).toEqual({
      unicode_name: 'PK',
      unicode_name_length: 2,
      variable_data: 'AQI=',
      variable_data_length: 2,
      variable_name: '61dfe48b-ca93-d211-aa0d-00e098032b8c',
    })
  })

  it('may be empty, and is not looked at behind its data', () => {
    expect(detailsOfHex(type, `${guid}00000000000000000000000000000000ffff`)).toMatchObject({
      unicode_name: '',
      variable_data: '',
    })
  })

  it.each([
    ['no length', guid],
    ['no data length', `${guid}0000000000000000`],
    ['a name behind the end', `${guid}0200000000000000000000000000000050004b`],
    ['a name of 2^63 units', `${guid}00000000000000800000000000000000`],
    ['data behind the end', `${guid}0000000000000000010000000000000000`.slice(0, 64)],
    ['data of 2^64-1 bytes', `${guid}0000000000000000ffffffffffffffff`],
    ['a lone surrogate', `${guid}0100000000000000000000000000000000d8`],
  ])('is malformed: %s', (_what, hex) => {
    expect(malformed(() => detailsOfHex(type, hex))).toBe(true)
  })
})

describe.each(['EV_EFI_PLATFORM_FIRMWARE_BLOB2', 'EV_EFI_HANDOFF_TABLES2'] as const)('%s', (type) => {
  it('loses the last character of its description, as policies know it', () => {
    expect(detailsOfHex(type, '095464785461626c65000100000000000000')).toEqual({ string: 'TdxTable' })
    expect(detailsOfHex(type, '03414243')).toEqual({ string: 'AB' })
  })

  it.each(['00', '01', '0141'])('has the empty description in %s', (hex) => {
    expect(detailsOfHex(type, hex)).toEqual({ string: '' })
  })

  it.each(['', '02', '044142', '03ff00'])('is malformed: %j', (hex) => {
    expect(malformed(() => detailsOfHex(type, hex))).toBe(true)
  })
})

describe('EV_EFI_BOOT_SERVICES_APPLICATION', () => {
  const head = '00'.repeat(24)

  it('has the texts of its device path without the end node', () => {
    const path = '01010600010004040600410000007fff0400'
    expect(
      malformed(() => detailsOfHex('EV_EFI_BOOT_SERVICES_APPLICATION', `${head}1200000000000000${path}`)),
    ).toBe(true)
    const good = '0101060001000404080041000000' + '7fff0400'
    expect(detailsOfHex('EV_EFI_BOOT_SERVICES_APPLICATION', `${head}1200000000000000${good}`)).toEqual({
      device_paths: ['Pci(1,0)', 'File(A)'],
    })
  })

  it('may have no device path', () => {
    expect(detailsOfHex('EV_EFI_BOOT_SERVICES_APPLICATION', `${head}0000000000000000`)).toEqual({})
  })

  it.each([
    ['no path length', head],
    ['a path of 2 bytes', `${head}02000000000000007fff`],
    ['a path of 7 bytes', `${head}070000000000000001010400000000`],
    ['a path behind the end', `${head}0900000000000000010104007fff0400`],
    ['a path of 2^64-1 bytes', `${head}ffffffffffffffff010104007fff0400`],
  ])('is malformed: %s', (_what, hex) => {
    expect(malformed(() => detailsOfHex('EV_EFI_BOOT_SERVICES_APPLICATION', hex))).toBe(true)
  })
})

describe('the other event types', () => {
  it.each([
    'EV_SEPARATOR',
    'EV_NO_ACTION',
    'EV_S_CRTM_VERSION',
    'EV_EFI_GPT_EVENT',
    'EV_EFI_PLATFORM_FIRMWARE_BLOB',
  ] as const)('have no details: %s', (type) => {
    expect(detailsOfHex(type, 'ff00ff')).toEqual({})
  })
})

describe('a device path node', () => {
  function text(type: number, subtype: number, payload: string): string | undefined {
    const bytes = Buffer.from(payload, 'hex')
    const header = Buffer.from([type, subtype, 0, 0])
    header.writeUInt16LE(4 + bytes.length, 2)
    return devicePathTexts(Buffer.concat([header, bytes]), new LogBudget())[0]
  }

  it.each([
    [1, 1, '0004', 'Pci(0,4)'],
    [1, 1, '000401', 'Pci(0,4)'],
    [1, 1, '00', 'Path(1,1,00)'],
    [2, 1, 'd041030a02000000', 'ACPI(PNP0A03,2)'],
    [2, 1, 'd041030affffffff', 'ACPI(PNP0A03,4294967295)'],
    [2, 1, '00000000000000', 'Path(2,1,00000000000000)'],
    [2, 2, 'd041030a02000000', 'Path(2,2,d041030a02000000)'],
    [3, 5, '0102', 'USB(1,2)'],
    [3, 5, '01', 'Path(3,5,01)'],
    [3, 0x15, '00010203040506070001020304050607', 'FibreEx(0x0001020304050607,0x0001020304050607)'],
    [3, 0x15, '000102030405060700010203040506', 'Path(3,21,000102030405060700010203040506)'],
    [3, 0x0b, `001320f5fa77${'00'.repeat(26)}01`, 'Mac(001320F5FA77,0x01)'],
    [3, 0x0b, `001320f5fa70${'00'.repeat(26)}ff`, 'Mac(001320F5FA7,0xFF)'],
    [3, 0x0b, '00'.repeat(33), 'Mac(,0x00)'],
    [3, 0x0b, '00'.repeat(32), `Path(3,11,${'00'.repeat(32)})`],
    [3, 0x0b, '00'.repeat(34), `Path(3,11,${'00'.repeat(34)})`],
    [3, 0x0c, '0100a8c06400a8c00000bc0c0600010000000000000000', 'IPv4(192.168.0.100,TCP,Static,192.168.0.1)'],
    [3, 0x0c, '0100a8c06400a8c00000bc0c0700020000000001000000', 'IPv4(192.168.0.100,,,192.168.0.1,0,1)'],
    [3, 0x0c, '00'.repeat(22), `Path(3,12,${'00'.repeat(22)})`],
    [
      4,
      1,
      `0100000000080000000000000000100000000000e9a896cbdcade74bb68e69b6d1ea59cb0202`,
      'HD(1,GPT,CB96A8E9-ADDC-4BE7-B68E-69B6D1EA59CB,0x800,0x100000)',
    ],
    [4, 1, `${'00'.repeat(36)}0101`, 'HD(0,MBR,0x00000000)'],
    [
      4,
      1,
      `01000000ffffffffffffffff0000000000000000${'00'.repeat(16)}0101`,
      'HD(1,MBR,0x00000000,0xffffffffffffffff,0x0)',
    ],
    [4, 1, `${'00'.repeat(36)}0302`, `Path(4,1,${'00'.repeat(36)}0302)`],
    [4, 1, `${'00'.repeat(36)}01`, `Path(4,1,${'00'.repeat(36)}01)`],
    [4, 3, '72f728144ab61e44b8c39ebdd7f893c7abcd', 'VenMedia(1428F772-B64A-441E-B8C3-9EBDD7F893C7,abcd)'],
    [4, 3, '72', 'Path(4,3,72)'],
    [4, 4, '6b00650072006e0065006c000000', 'File(kernel)'],
    [4, 4, '0000', 'File()'],
    [4, 4, '00d80000', 'File(\ufffd)'],
    [4, 4, '', 'Path(4,4,)'],
    [4, 4, '6b', 'Path(4,4,6b)'],
    [5, 1, '0500000000', 'BBS(USB,,0)'],
    [5, 1, '8000000041424300', 'BBS(DEV,ABC,0)'],
    [5, 1, 'ff00010041', 'BBS(UNKNOWN,A,1)'],
    [5, 1, 'f0ff0000', 'BBS(65520,,0)'],
    [5, 1, '01000000ff00', 'Path(5,1,01000000ff00)'],
    [5, 1, '010000', 'Path(5,1,010000)'],
    [6, 1, '00', 'Path(6,1,00)'],
    [255, 255, '', 'Path(255,255,)'],
  ])('%d,%d %s is %s', (type, subtype, payload, expected) => {
    expect(text(type, subtype, payload)).toBe(expected)
  })
})

describe('a device path', () => {
  it('has at most 256 nodes', () => {
    const node = Buffer.from('01040400', 'hex')
    const path = (count: number) => Buffer.concat(new Array(count).fill(node))
    expect(devicePathTexts(path(256), new LogBudget())).toHaveLength(256)
    expect(malformed(() => devicePathTexts(path(257), new LogBudget()))).toBe(true)
  })

  it('shares 4096 nodes with all others of its log', () => {
    const budget = new LogBudget()
    const path = Buffer.concat(new Array(256).fill(Buffer.from('01040400', 'hex')))
    for (let round = 0; round < 16; round++) devicePathTexts(path, budget)
    expect(malformed(() => devicePathTexts(path.subarray(0, 4), budget))).toBe(true)
  })

  it.each(['01', '010104', '01010000', '01010300', '01010500', '010106000102ff'])(
    'is malformed: %s',
    (hex) => {
      expect(malformed(() => devicePathTexts(Buffer.from(hex, 'hex'), new LogBudget()))).toBe(true)
    },
  )
})
