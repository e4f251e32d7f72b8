# SPDX-License-Identifier: LGPL-2.1-or-later
# What a request's fields are, as text for who has no descriptors: of each message NAMERequest
#
#   #define FIELDS_NAME "field kind\0" "field kind\0" ...
#
# kind is text, bool, signed, unsigned, or the names of an enumeration, each with a comma behind it; a "*"
# before it says that the field is repeated. Fields of another kind (messages, floating point) are left out.
# The files are read twice: awk -f proto/fields.awk FILES pass=2 FILES

BEGIN {
	split("bytes string", words); for (i in words) kind[words[i]] = "text"
	split("uint32 uint64 fixed32 fixed64", words); for (i in words) kind[words[i]] = "unsigned"
	split("int32 int64 sint32 sint64 sfixed32 sfixed64", words); for (i in words) kind[words[i]] = "signed"
	kind["bool"] = "bool"
}

/^(enum|message) / { block = $1; name = $2; known = "" }

pass != 2 && block == "enum" && $2 == "=" { kind[name] = kind[name] $1 "," }

pass == 2 && block == "message" && name ~ /Request$/ && $4 == "=" && ($1 == "optional" || $1 == "repeated") && $2 in kind {
	known = known "\"" $3 " " ($1 == "repeated" ? "*" : "") kind[$2] "\\0\" "
}

/^}/ {
	if (pass == 2 && block == "message" && sub(/.Request$/, substr(name, length(name) - 7, 1), name))
		print "#define FIELDS_" name " " known "\"\""
	block = ""
}
