// What a start costs without the module.
export {};
