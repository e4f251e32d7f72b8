/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "proto/copy/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/copy/copy.h"
#include "proto/copy/digest.h"

int copy_check_begin(struct copy_check *check, const struct copy_asked *asked)
{
	*check = (struct copy_check){.asked = asked};
	check->came = calloc(asked->n_paths + 1, sizeof(*check->came));
	return check->came ? 0 : -ENOMEM;
}

void copy_check_done(struct copy_check *check)
{
	free(check->came);
	check->came = NULL;
}

/* What comes into the target itself is what was asked for, each thing once. */
static bool was_asked_for(struct copy_check *check, const ProtobufCBinaryData *name)
{
	const struct copy_asked *asked = check->asked;

	for (size_t i = 0; i < asked->n_paths; i++) {
		size_t len;
		const char *path = copy_name_of(asked->paths[i], &len);

		if (!check->came[i] && len == name->len && memcmp(path, name->data, len) == 0)
			return check->came[i] = true;
	}
	return !asked->paths;
}

static int check_name(struct copy_check *check, bool has, const ProtobufCBinaryData *name)
{
	if (check->phase != COPY_BETWEEN || !has || !copy_name_is_good(name))
		return -EBADMSG;
	return check->depth > 0 || was_asked_for(check, name) ? 0 : -EBADMSG;
}

static int check_file(struct copy_check *check, const Postern__V1__CopyFile *file)
{
	int r = check_name(check, file->has_name, &file->name);

	check->size = file->size;
	check->at = check->have = 0;
	check->phase = file->may_resume ? COPY_WAITS : COPY_CONTENT;
	return r;
}

static int check_folder(struct copy_check *check, const Postern__V1__CopyFolder *folder)
{
	if (!check->asked->recursive || check->depth >= COPY_DEPTH_MAX ||
		check_name(check, folder->has_name, &folder->name) < 0)
		return -EBADMSG;
	check->depth++;
	return 0;
}

/* What is asked for is never sent as a link. Where it leads is the receiver's to judge. */
static int check_link(struct copy_check *check, const Postern__V1__CopyLink *link)
{
	return check->depth > 0 ? check_name(check, link->has_name, &link->name) : -EBADMSG;
}

static int check_leave(struct copy_check *check)
{
	if (check->phase != COPY_BETWEEN || check->depth == 0)
		return -EBADMSG;
	check->depth--;
	return 0;
}

int copy_check_have(struct copy_check *check, const Postern__V1__CopyHave *have)
{
	if (check->phase != COPY_WAITS || have->bytes > check->size ||
		(have->bytes > 0 && have->digest.len != COPY_DIGEST_SIZE))
		return -EBADMSG;
	check->have = have->bytes;
	check->phase = COPY_AGREES;
	return 0;
}

static int check_from(struct copy_check *check, const Postern__V1__CopyFrom *from)
{
	if (check->phase != COPY_AGREES || (from->offset != 0 && from->offset != check->have))
		return -EBADMSG;
	check->at = from->offset;
	check->phase = COPY_CONTENT;
	return 0;
}

static int check_data(struct copy_check *check, const Postern__V1__CopyData *data)
{
	if (check->phase != COPY_CONTENT || data->length == 0 || data->length > COPY_DATA_MAX ||
		data->offset < check->at || data->offset > check->size ||
		data->length > check->size - data->offset)
		return -EBADMSG;
	check->at = data->offset + data->length;
	return 0;
}

static int check_end(struct copy_check *check, const Postern__V1__CopyEnd *end)
{
	if (check->phase != COPY_CONTENT || (!end->broken && end->digest.len != COPY_DIGEST_SIZE))
		return -EBADMSG;
	check->phase = COPY_BETWEEN;
	return 0;
}

/* Nothing is missing without a word. */
static int check_finished(const struct copy_check *check)
{
	if (check->phase != COPY_BETWEEN || check->depth != 0)
		return -EBADMSG;
	for (size_t i = 0; i < check->asked->n_paths; i++)
		if (!check->came[i] && !check->excused)
			return -EBADMSG;
	return 0;
}

int copy_check_record(struct copy_check *check, const Postern__V1__CopyRecord *record)
{
	switch (record->kind_case) {
	case POSTERN__V1__COPY_RECORD__KIND_PLAN:
		return 0;
	case POSTERN__V1__COPY_RECORD__KIND_FILE:
		return check_file(check, record->file);
	case POSTERN__V1__COPY_RECORD__KIND_FOLDER:
		return check_folder(check, record->folder);
	case POSTERN__V1__COPY_RECORD__KIND_LINK:
		return check_link(check, record->link);
	case POSTERN__V1__COPY_RECORD__KIND_LEAVE:
		return check_leave(check);
	case POSTERN__V1__COPY_RECORD__KIND_FROM:
		return check_from(check, record->from);
	case POSTERN__V1__COPY_RECORD__KIND_DATA:
		return check_data(check, record->data);
	case POSTERN__V1__COPY_RECORD__KIND_END:
		return check_end(check, record->end);
	case POSTERN__V1__COPY_RECORD__KIND_PROBLEM:
		check->excused = true;
		return 0;
	case POSTERN__V1__COPY_RECORD__KIND_DONE:
		return check_finished(check);
	default:
		return -EBADMSG;
	}
}
