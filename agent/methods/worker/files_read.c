/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* files.* that change nothing. */
#include "agent/methods/file_entry.h"
#include "agent/methods/file_work.h"
#include "agent/methods/prototypes.h"

static unsigned int flags_of(bool follow_links)
{
	return follow_links ? FILE_FOLLOW : 0;
}

int files_stat(struct call *call, const Postern__V1__FilesStatRequest *request,
	Postern__V1__FilesStatReply *reply)
{
	AUTO_FILE_PLACE struct file_place place = FILE_PLACE_NONE;
	int r = file_place_open(call, request->has_path, &request->path,
		flags_of(request->follow_links), TOUCH_LOOK, &place);

	if (r == 0)
		r = file_entry_of(call, &place, &reply->file);
	worker_touch_done(call);
	return r;
}

static void put_part(ProtobufCMessage *message, const struct file_part *part)
{
	Postern__V1__FilesListReply *reply = (Postern__V1__FilesListReply *)message;

	reply->files = part->entries;
	reply->n_files = part->n;
	reply->problems = part->problems;
	reply->n_problems = part->n_problems;
}

int files_list(struct call *call, const Postern__V1__FilesListRequest *request,
	Postern__V1__FilesListReply *reply)
{
	AUTO_FILE_PLACE struct file_place place = FILE_PLACE_NONE;
	struct file_listing listing = {.reply = &reply->base, .put = put_part};
	int r = file_place_open(call, request->has_path, &request->path,
		flags_of(request->follow_links), TOUCH_LOOK, &place);

	if (r == 0)
		r = file_list(call, &place, request->recursive, &listing);
	reply->has_count = reply->has_more_problems = true;
	reply->count = listing.count;
	reply->more_problems = listing.left_out;
	return r;
}

static void put_data(ProtobufCMessage *message, ProtobufCBinaryData *data, bool last, bool end)
{
	Postern__V1__FilesReadReply *reply = (Postern__V1__FilesReadReply *)message;

	reply->data = data;
	reply->n_data = data->len > 0;
	reply->has_end = last;
	reply->end = end;
}

int files_read(struct call *call, const Postern__V1__FilesReadRequest *request,
	Postern__V1__FilesReadReply *reply)
{
	AUTO_FILE_PLACE struct file_place place = FILE_PLACE_NONE;
	struct file_reading reading = {.offset = request->offset,
		.length = request->has_length ? request->length : READ_DEFAULT,
		.reply = &reply->base,
		.put = put_data};
	int r = file_place_open(call, request->has_path, &request->path,
		flags_of(request->follow_links), TOUCH_LOOK, &place);

	return r < 0 ? r : file_read(call, &place, &reading);
}

int files_get_footprint(struct call *call, const Postern__V1__FilesGetFootprintRequest *request,
	Postern__V1__FilesGetFootprintReply *reply)
{
	AUTO_FILE_PLACE struct file_place place = FILE_PLACE_NONE;
	const char *algorithm = NULL;
	int r = file_place_open(call, request->has_path, &request->path,
		flags_of(request->follow_links), TOUCH_LOOK, &place);

	if (r == 0)
		r = file_footprint(call, &place, request->algorithm, &reply->footprint, &algorithm,
			&reply->size);
	reply->algorithm = (char *)algorithm;
	reply->has_size = true;
	return r;
}
